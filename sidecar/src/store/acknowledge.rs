//! What a sidecar says of itself: that it is there, and which config it serves by.

use std::sync::Arc;

use redis::RedisResult;
use vectoll_config::store::live_key;

use super::{
    connect::{Connection, Script},
    protocol::Identity,
};

/// Writes one sidecar's word, with the time, and forgets those that were not heard of for a minute.
const SCRIPT: &str = "
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[3])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at = tonumber(string.match(all[i + 1], '^%d+ (%d+)'))
  if not at or now - at > 60000 then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('PEXPIRE', KEYS[1], 86400000)
return now";

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) namespace: Arc<str>,
    pub(super) generation: u64,
}

/// Says it.
pub(super) async fn acknowledge(
    mut connection: Connection,
    identity: Identity,
    word: Word,
    pod: Arc<str>,
) -> RedisResult<Word> {
    let script = Script::new(SCRIPT);
    let words = [identity.sidecar.to_string(), word.generation.to_string(), pod.to_string()];
    connection.run(&script, &live_key(&word.namespace), &words).await?;
    Ok(word)
}
