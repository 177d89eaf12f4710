-- The functions of Vectoll's library in the store, for Lua 5.1 in Valkey and Redis 7. LIBRARY is its name: functions.rs puts it in front.
--
-- Servers hold whoever calls a function to that caller's own rights, command by command. So a caller may as well run these commands without the
-- functions. The bounds below are for what a caller says here: what a sidecar never says is refused before anything is written.
local MAX_LIST = 200000         -- entries of one list: after an outage a sidecar tells of all its users at once
local MAX_GROUPS = 1024         -- groups of lease requests
local MAX_REQUESTS = 16384        -- lease requests, in all of them
local MAX_SLOTS = 1000          -- fields of a window: requests and tokens, of slots that any lease can touch
local MAX_HELD = 500000         -- purses in which one sidecar holds something
local MAX_NAME = 1200           -- bytes of an account's name: a UID and 256 characters
local MAX_FIELD = 2048          -- bytes of a field of the ledger
local MAX_LIFE = 60000          -- ms that a lease or a pause may last
local DAY = 86400000            -- ms
local MAX_AHEAD = 367 * DAY     -- ms until the end of a period
local MAX_SIDECARS = 5000       -- sidecars of a namespace, at the same time
local MAX_ALL_SIDECARS = 20000  -- sidecars of all namespaces that share a Team or a backend, at the same time
local MAX_NEW_SIDECARS = 20000  -- sidecars of a namespace that a Team or a backend has not seen before, in a day
local MAX_NEW_PURSES = 200000   -- periods of a Team's budgets that a namespace begins in a day
local MAX_USERS, MAX_KEYS, MAX_MODELS, MAX_TAG_SETS = 1000000, 20000, 10000, 2000 -- that the ledger of a Team tells apart
local MAX_BUDGETS = 16          -- periods of one account that a call's money counts in
local MAX_PERIODS = 64          -- periods of an account's budgets that are kept up at the same time
local MAX_MONTHS = 14           -- months back that spend is still told apart by
local MAX_TIDIED = 1000         -- fields that the operator tidies up in one step

local function is_whole(text, most) return #text <= 16 and string.find(text, '^%d+$') ~= nil and tonumber(text) <= most end
local function is_pico(text) return #text <= 20 and string.find(text, '^%d+$') ~= nil end
local function is_sidecar(text) return #text <= 64 and string.find(text, '^[%w-]+$') ~= nil end
local function is_period(text) return #text <= 128 and string.find(text, '^%u%l+[%d-]*/[%w/_+-]+/%d+$') ~= nil end
-- A whole number that was written here before. Nothing, if somebody else wrote something else there.
local function num(text) return text and is_whole(text, 9007199254740991) and tonumber(text) or 0 end
-- Requests and tokens, in any minute, hour and day: what is counted, in which hash, and how long a slot of it is (s).
local RATES = {
  r = {of = 'r', window = 'w:', slot = 1}, t = {of = 't', window = 'w:', slot = 1},
  rh = {of = 'r', window = 'wh:', slot = 60}, th = {of = 't', window = 'wh:', slot = 60},
  rd = {of = 'r', window = 'wd:', slot = 1440}, td = {of = 't', window = 'wd:', slot = 1440},
}
local function is_rate(text) return RATES[text] ~= nil end
local function is_caller(text) return #text <= 300 and string.find(text, '^ns:[%w._:-]+$') ~= nil end

-- A calendar month as a number, of a time in ms (Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
local function month_at(ms)
  local z = math.floor(ms / DAY) + 719468
  local era = math.floor(z / 146097)
  local of_era = z - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  month = month < 10 and month + 3 or month - 9
  return (year + era * 400 + (month <= 2 and 1 or 0)) * 12 + month
end
local function month_named(text)
  local year, month = string.match(text, '^(%d%d%d%d)-(%d%d)$')
  return year and tonumber(month) >= 1 and tonumber(month) <= 12 and tonumber(year) * 12 + tonumber(month) or nil
end

-- Money: parts of nine digits.
local UNIT = 1000000000
local function split(text)
  if not text or not string.find(text, '^%d+$') then return 0, 0 end
  if #text <= 9 then return 0, tonumber(text) end
  return tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9))
end
local function join(high, low)
  if high > 0 then return string.format('%.0f%09.0f', high, low) end
  return string.format('%.0f', low)
end
local function plus(ah, al, bh, bl)
  local high, low = ah + bh, al + bl
  if low >= UNIT then high, low = high + 1, low - UNIT end
  return high, low
end
local function less(ah, al, bh, bl) return ah < bh or (ah == bh and al < bl) end
local function minus(ah, al, bh, bl) -- never below nothing
  if less(ah, al, bh, bl) then return 0, 0 end
  local high, low = ah - bh, al - bl
  if low < 0 then high, low = high - 1, low + UNIT end
  return high, low
end
local function divide(high, low, by)
  return math.floor(high / by), math.floor(((high % by) * UNIT + low) / by)
end

local function add(key, field, pico)
  local high, low = split(redis.call('HGET', key, field))
  redis.call('HSET', key, field, join(plus(high, low, split(pico))))
end

-- When a period begins (s), and whether two are of the same setting of a budget: kind and zone.
local function starts(period) return num(string.match(period, '/(%d+)$')) end
local function is_like(period, other) return string.match(period, '^(.*)/%d+$') == string.match(other, '^(.*)/%d+$') end

-- What the ledger tells apart has a bound in each family; what is beyond it shares one entry.
local FAMILIES = {
  u = {count = 'users', most = MAX_USERS, other = 'u:_other'},
  k = {count = 'keys', most = MAX_KEYS, other = 'k:_other'},
  m = {count = 'models', most = MAX_MODELS, other = 'm:_other|_other|_other'},
  g = {count = 'tags', most = MAX_TAG_SETS, other = 'g:["_other"]'},
}

-- What is wrong with the words of an exchange.
local function check(args)
  local at, wrong, requests = 0, nil, 0
  -- What is read whole of each account that is named, and how large it can be.
  local read = {}
  local function word(name, is_good, bound)
    at = at + 1
    local text = args[at]
    if not wrong and not (text and is_good(text, bound)) then wrong = name .. ' (word ' .. at .. ')' end
    return text or ''
  end
  local function is_short(text, most) return #text > 0 and #text <= most end
  local function is_amount(text) return #text <= 17 and string.find(text, '^-?%d+$') ~= nil end
  local function whole(name, most) return word(name, is_whole, most or 9007199254740991) end
  local function list(name, each, most)
    local count = tonumber(whole('length of ' .. name, most or MAX_LIST)) or 0
    for _ = 1, count do
      if wrong then return end
      each()
    end
  end
  local function period()
    local name = word('period', is_period)
    local ends = word('end of a period', function(text) return text == '' and string.sub(name, 1, 6) == 'Total/' or is_whole(text, 9007199254740991) end)
    return name, ends
  end
  local latest = 0
  local function purse()
    local _, ends = period()
    latest = math.max(latest, tonumber(ends) or 0)
  end
  local function money()
    word('account', is_short, MAX_NAME)
    purse()
    word('amount', is_pico)
  end
  local function is_field(text)
    if #text > MAX_FIELD then return false end
    return text == 't' or text == 'unsettled' or text == 'estimated' or text == 'foreign' or string.find(text, '^[ku]:') ~= nil or (#text <= 512 and string.find(text, '^g:%[".+"%]$') ~= nil) or string.find(text, '^m:[^|]*|[^|]*|') ~= nil
  end
  word('sidecar', is_sidecar)
  whole('epoch'); whole('number'); whole('number of the last exchange')
  word('whether it only asks', is_whole, 1)
  whole('life of a lease', MAX_LIFE); whole('pause', MAX_LIFE); whole('number of users')
  list('corrections', function()
    word('account', is_short, MAX_NAME); word('rate', is_rate); whole('slot'); word('amount', is_amount)
  end)
  list('claims', function() word('account', is_short, MAX_NAME); whole('count') end)
  whole('first number'); whole('last number')
  list('charges', function()
    word('account', is_short, MAX_NAME)
    list('periods', purse, MAX_BUDGETS)
    word('amount', is_pico)
  end)
  list('entries of the ledger', function()
    word('month', function(text) return month_named(text) ~= nil end)
    word('field', is_field); whole('requests'); word('tokens', is_pico); word('amount', is_pico)
  end)
  list('holds', money)
  list('groups', function()
    list('lease requests', function()
      requests = requests + 1
      if requests > MAX_REQUESTS then wrong = wrong or 'more than ' .. MAX_REQUESTS .. ' lease requests' end
      local kind = word('kind', function(text) return text == 'm' or text == 'p' or is_rate(text) end)
      local account = word('account', is_short, MAX_NAME)
      for _, name in ipairs({'least', 'most', 'limit'}) do word(name, kind == 'm' and is_pico or is_whole, 9007199254740991) end
      if kind == 'm' then purse()
      else
        local function is_empty(text) return text == '' end
        word('period', is_empty); word('end of a period', is_empty)
        if kind == 'p' then read['p:' .. account] = MAX_ALL_SIDECARS elseif is_rate(kind) then read[RATES[kind].window .. account] = MAX_SLOTS end
      end
    end, MAX_REQUESTS)
  end, MAX_GROUPS)
  local caller = word('namespace', is_caller)
  return wrong, caller, latest, read
end

local function refuse(what) return redis.error_reply('ERR vectoll: ' .. what) end

-- What one sidecar and the store tell each other about one Team, as one step. See "Counting together" in the sidecar's README.
--
-- keys[1]: what all keys of the Team begin with. All others are made of it: they share its hash tag, and so its hash slot.
-- args, one after the other; lists begin with their length:
--   sidecar, epoch, number of this exchange, the last one that it knows to be taken, '1' if it only asks what that was, life of a lease (ms), pause after a restart (ms),
--   users that the ledger tells apart
--   corrections of windows:  account, rate ('r' requests, 't' tokens; 'rh', 'th' in any hour, 'rd', 'td' in any day), slot, amount (may be negative)
--   claims of parallel requests: account, count
--   spend: first number not in it, last number in it; charges: account, the periods of its budgets that it counts in (name, end in ms; '' never), pico-USD;
--          entries of the ledger: month, field, requests, tokens, pico-USD
--   holds of money: account, period, its end, pico-USD (all that this sidecar holds there, spend above taken off)
--   groups of lease requests, each to be met as a whole: kind (a rate, 'p' parallel, 'm' money), account, least, most, limit, period, its end
--   the sidecar's namespace, as the tag of its keys has it: 'ns:SCOPE:NAMESPACE'
-- Answer: time (ms), run of the server, pause left (ms), epoch and number of the last exchange that did more than ask, last spend known, sidecars,
--   then for each group either {1, amounts and what is taken now...} or {0, place, taken, ms to wait (-1: for ever), ...}
--
-- Everything is written as it is to be, nothing as a change. A server that was killed may carry out the beginning of an exchange
-- that it had lost when it is started for the second time (Redis 7.0 leaves a cut transaction in its append-only file); what the
-- sidecar has told again meanwhile puts that right.
--
-- Amounts of tokens are whole numbers below 2^53, which Lua holds exactly. Money may be more: it is split into two parts.
local function exchange(keys, args)
  local wrong, caller, latest, read = check(args)
  if wrong then return refuse('no sidecar says such a thing: ' .. wrong) end
  -- Servers do not tell a function who calls it, but what its caller may do: who may write what the sidecars of a namespace say of
  -- themselves is one of them. So no namespace uses up what another one may.
  if not redis.acl_check_cmd('HSET', 'vectoll:{' .. caller .. '}:live', 'field', 'value') then
    return refuse('this login is not one of ' .. caller)
  end
  local prefix = keys[1]
  -- What is read whole is weighed before anything is written: whoever may write here may have made it larger than any sidecar would, and a
  -- function that has written cannot be ended.
  read['live'], read['held:' .. args[1]] = 2 * MAX_ALL_SIDECARS, MAX_HELD
  for name, most in pairs(read) do
    if redis.call('HLEN', prefix .. name) > most then return refuse('there is more in ' .. name .. ' than sidecars write') end
  end
  local at = 0
  local function arg() at = at + 1; return args[at] end
  local function number() return tonumber(arg()) end

  local SPAN = 61            -- slots that any minute, hour or day can touch: sixty, and the one that it begins in
  local CLAIM_LIFE = 10000   -- ms that a claim of parallel requests lasts without being renewed
  local LIVE = 10000         -- ms after which a sidecar that was not heard of does not count

  local sidecar, epoch, seq, after, asks_only = arg(), arg(), number(), number(), arg() == '1'
  local life, pause, most_users = number(), number(), number()

  -- Time never runs backwards for a Team, whatever the server's clock does.
  local meta = prefix .. 'meta'
  local quota = 'of:' .. caller -- day, and what its sidecars began in it
  local seen, run_before, hold, live_count, live_at, begun = unpack(redis.call('HMGET', meta, 'seen', 'run', 'hold', 'n', 'nat', quota))
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  -- Beyond a day it is no clock's step, but somebody's word.
  if num(seen) > now and num(seen) <= now + DAY then now = num(seen) end
  local function slot_at(ms, rate) return math.floor(ms / (1000 * rate.slot)) end

  if latest > now + MAX_AHEAD then return refuse('no period ends so far ahead') end
  local today = math.floor(now / DAY)
  local day, new_sidecars, new_purses = string.match(begun or '', '^(%d+) (%d+) (%d+)$')
  if num(day) ~= today then new_sidecars, new_purses = '0', '0' end
  new_sidecars, new_purses, live_count, live_at = num(new_sidecars), num(new_purses), num(live_count), num(live_at)
  local function note_begun() redis.call('HSET', meta, quota, string.format('%.0f %.0f %.0f', today, new_sidecars, new_purses)) end

  -- Who is there.
  local live = prefix .. 'live'
  local function look_around()
    local all, count, mine, over = redis.call('HGETALL', live), 0, 0, {}
    for i = 1, #all, 2 do
      local heard, of = string.match(all[i + 1], '^(%d+) ?(.*)$')
      heard = num(heard)
      if now - heard > LIVE or heard > now then over[#over + 1] = all[i]
      else
        count = count + 1
        if of == caller then mine = mine + 1 end
      end
    end
    return count, mine, over
  end
  -- A sidecar too many is refused whole: it was given nothing yet.
  if redis.call('HGET', live, sidecar) == false then
    local count, mine = look_around()
    if mine >= MAX_SIDECARS then return refuse('this namespace has as many sidecars as there can be: ' .. MAX_SIDECARS) end
    if count >= MAX_ALL_SIDECARS then return refuse('there are as many sidecars here as there can be: ' .. MAX_ALL_SIDECARS) end
    if new_sidecars >= MAX_NEW_SIDECARS and redis.call('HGET', prefix .. 'mark:' .. sidecar, 'epoch') == false then
      return refuse('this namespace has had as many new sidecars today as there can be: ' .. MAX_NEW_SIDECARS)
    end
  end

  -- A server that was started anew, or took over, may have lost the latest: nothing is granted until all leases of before are
  -- over and all sidecars had time to tell again.
  local info = redis.call('INFO', 'server')
  local run = string.match(info, 'run_id:(%x+)')
  hold = num(hold)
  if hold > now + MAX_LIFE then hold = 0 end
  if run_before ~= run then
    local up = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) * 1000
    -- A sidecar that knows of earlier exchanges says that everything was lost.
    if run_before or up < pause or (not asks_only and after > 0) then hold = now + pause end
  end
  local granting = now >= hold

  local is_new = redis.call('HSET', live, sidecar, string.format('%.0f ', now) .. caller) == 1
  if is_new or now - live_at >= 1000 or live_at > now then
    local count, _, over = look_around()
    for _, name in ipairs(over) do redis.call('HDEL', live, name) end
    live_count, live_at = count, now
  end
  live_count = math.max(1, live_count)
  redis.call('HSET', meta, 'seen', now, 'run', run, 'hold', hold, 'n', live_count, 'nat', live_at)
  redis.call('PEXPIRE', meta, 400 * DAY)
  redis.call('PEXPIRE', live, 400 * DAY)

  local mark = prefix .. 'mark:' .. sidecar
  local epoch_before, seq_before, applied, spent_to = unpack(redis.call('HMGET', mark, 'epoch', 'seq', 'applied', 'spent'))
  spent_to = num(spent_to)
  if not epoch_before then
    new_sidecars = new_sidecars + 1
    note_begun()
  end
  local answer = {now, run, granting and 0 or hold - now, epoch_before or '', applied or '', spent_to, live_count}

  -- Its sender has given this one up, and gone on: it must not count twice.
  if epoch_before and (tonumber(epoch) < num(epoch_before) or (epoch == epoch_before and seq <= num(seq_before))) then
    return answer
  end
  local is_same = epoch_before == epoch
  local function note(taken)
    redis.call('HSET', mark, 'epoch', epoch, 'seq', string.format('%.0f', seq), 'spent', string.format('%.0f', spent_to),
      'applied', taken and string.format('%.0f', seq) or is_same and applied or 0)
    redis.call('PEXPIRE', mark, 400 * DAY)
  end
  -- Something of what it was told is lost: it is to be told again before anything else.
  if (is_same and num(applied) or 0) < after and not asks_only then
    note(false)
    return answer
  end

  -- Corrections of windows.
  local function keep_window(key, rate) redis.call('PEXPIRE', key, (SPAN + 60) * rate.slot * 1000) end
  for _ = 1, number() do
    local account, rate, of, amount = arg(), RATES[arg()], number(), number()
    local key, slot = prefix .. rate.window .. account, slot_at(now, rate)
    if of + SPAN > slot and of <= slot + SPAN then
      local field = rate.of .. string.format('%.0f', of)
      local value = math.max(0, num(redis.call('HGET', key, field)) + amount)
      if value == 0 then redis.call('HDEL', key, field) else redis.call('HSET', key, field, string.format('%.0f', value)) end
      keep_window(key, rate)
    end
  end

  -- Claims.
  for _ = 1, number() do
    local key, count = prefix .. 'p:' .. arg(), number()
    if count == 0 then redis.call('HDEL', key, sidecar)
    else
      redis.call('HSET', key, sidecar, string.format('%.0f:%.0f', count, now + CLAIM_LIFE))
      redis.call('PEXPIRE', key, 2 * CLAIM_LIFE)
    end
  end

  local function purse(account, period) return prefix .. 'm:' .. account .. ':' .. period end
  local function keep(key, ends)
    if ends == '' then redis.call('PERSIST', key) else redis.call('PEXPIREAT', key, string.format('%.0f', tonumber(ends) + 35 * DAY)) end
  end

  -- The other periods of an account's budgets that are not over: a budget whose period or zone is edited has several, until its first one is.
  -- Of the same setting only those that end with it: a reset divides a period.
  local function others(account, period, ends)
    local key, found = prefix .. 'a:' .. account, {}
    -- More than sidecars write: then nothing is taken over.
    if redis.call('HLEN', key) > MAX_PERIODS then return found end
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if all[i + 1] ~= '' and num(all[i + 1]) <= now then redis.call('HDEL', key, all[i])
      elseif not is_like(all[i], period) or (all[i] ~= period and all[i + 1] == ends) then found[#found + 1] = all[i] end
    end
    return found
  end

  -- What a period that begins takes over: the most that is taken in another one of its account that lies within it. So a budget whose period
  -- or zone is edited does not begin at nothing. `beside`: periods that begin with it, which hold what it holds.
  local function inherited(account, period, ends, beside)
    local th, tl, from = 0, 0, nil
    local sh, sl, rh, rl = 0, 0, 0, 0
    for _, other in ipairs(others(account, period, ends)) do
      if starts(other) >= starts(period) and not (beside and beside[purse(account, other)]) then
        local spent, all_held = unpack(redis.call('HMGET', purse(account, other), 's', 'r'))
        local oh, ol = split(spent)
        local hh, hl = split(all_held)
        local ah, al = plus(oh, ol, hh, hl)
        -- Of two that are alike the one that is named first: the answer is the same in whatever order they come.
        if less(th, tl, ah, al) or (from and ah == th and al == tl and string.byte(other) < string.byte(from)) then
          th, tl, from, sh, sl, rh, rl = ah, al, other, oh, ol, hh, hl
        end
      end
    end
    return from, sh, sl, rh, rl
  end

  -- A period of a budget of which nothing is known yet is counted: there are only so many a day that are begun by lease requests.
  local function begins(account, period, ends, beside)
    new_purses = new_purses + 1
    note_begun()
    local from, sh, sl = inherited(account, period, ends, beside)
    if from then redis.call('HSET', purse(account, period), 's', join(sh, sl), 'c', from) end
    redis.call('HSET', prefix .. 'a:' .. account, period, ends)
    redis.call('PEXPIRE', prefix .. 'a:' .. account, 400 * DAY)
  end

  local function told_apart(field)
    local family = string.sub(field, 2, 2) == ':' and FAMILIES[string.sub(field, 1, 1)]
    if not family or redis.call('HGET', prefix .. 'total', field .. ':r') ~= false then return field end
    local count = num(redis.call('HGET', meta, family.count))
    local most = family.count == 'users' and math.min(most_users, MAX_USERS) or family.most
    if count >= most then return family.other end
    redis.call('HSET', meta, family.count, count + 1)
    return field
  end
  local this_month = month_at(now)

  -- Spend, each number once.
  local from, to = number(), number()
  local once = to > from and from == spent_to
  for _ = 1, number() do
    local account, periods, named = arg(), {}, {}
    for place = 1, number() do
      periods[place] = {name = arg(), ends = arg()}
      named[periods[place].name] = true
    end
    local pico = arg()
    if once then
      -- All of them begin before any of them has it: none takes it over from another one.
      for _, period in ipairs(periods) do
        local key = purse(account, period.name)
        if redis.call('HGET', key, 's') == false and redis.call('HGET', key, 'r') == false then begins(account, period.name, period.ends) end
      end
      local kept_up = {}
      for _, period in ipairs(periods) do
        local key = purse(account, period.name)
        add(key, 's', pico)
        redis.call('HSET', key, 'd', today)
        keep(key, period.ends)
        -- Those in which the call may have been admitted are kept up, once. Of a setting that is named it was admitted in what is named.
        for _, other in ipairs(others(account, period.name, period.ends)) do
          local alike
          for _, named_one in ipairs(periods) do
            if is_like(named_one.name, other) then alike = named_one.name end
          end
          local before = starts(other) <= starts(alike or period.name)
          if not named[other] and (before or (not alike and (period.ends == '' or tonumber(period.ends) > now))) then
            kept_up[other] = true
          end
        end
      end
      for other in pairs(kept_up) do
        local key = purse(account, other)
        if redis.call('HGET', key, 's') ~= false or redis.call('HGET', key, 'r') ~= false then add(key, 's', pico) end
      end
    end
  end
  for _ = 1, number() do
    local month, field, requests, tokens, pico = arg(), arg(), arg(), arg(), arg()
    if once then
      field = told_apart(field)
      local keys_of = {prefix .. 'total'}
      -- Beyond these there is only the sum: whoever could name any month could fill the store with them.
      local ago = this_month - month_named(month)
      if ago >= -1 and ago <= MAX_MONTHS then keys_of[2] = prefix .. 'month:' .. month end
      for _, key in ipairs(keys_of) do
        add(key, field .. ':r', requests)
        add(key, field .. ':t', tokens)
        add(key, field .. ':p', pico)
      end
      if keys_of[2] then redis.call('PEXPIRE', keys_of[2], 400 * DAY) end
    end
  end
  if once then spent_to = to end
  answer[6] = spent_to

  -- Holds of money: each sidecar's own word counts.
  local held = prefix .. 'held:' .. sidecar -- the purses in which it holds something
  local function set_hold(key, high, low, account, period, ends, beside)
    local field = 'h:' .. sidecar
    local old_high, old_low = split(redis.call('HGET', key, field))
    local all = redis.call('HGET', key, 'r')
    if all == false and redis.call('HGET', key, 's') == false then
      if high == 0 and low == 0 then redis.call('HDEL', held, key); return end
      begins(account, period, ends, beside)
      if beside then beside[key] = true end
    end
    local all_high, all_low = split(all)
    all_high, all_low = minus(all_high, all_low, old_high, old_low)
    all_high, all_low = plus(all_high, all_low, high, low)
    if high == 0 and low == 0 then
      redis.call('HDEL', key, field)
      redis.call('HDEL', held, key)
    else
      redis.call('HSET', key, field, join(high, low))
      redis.call('HSET', held, key, 1)
    end
    redis.call('HSET', key, 'r', join(all_high, all_low), 'd', today)
  end
  if epoch_before and epoch_before ~= epoch then
    -- It was started anew: what it held before and does not name now is in nobody's hands.
    local all = redis.call('HGETALL', held)
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, #prefix + 2) == prefix .. 'm:' then set_hold(all[i], 0, 0) else redis.call('HDEL', held, all[i]) end
    end
  end
  for _ = 1, number() do
    local account, period, ends, pico = arg(), arg(), arg(), arg()
    local key = purse(account, period)
    local high, low = split(pico)
    set_hold(key, high, low, account, period, ends)
    keep(key, ends)
  end

  -- Lease requests.
  local function window(account, rate)
    local key, slot = prefix .. rate.window .. account, slot_at(now, rate)
    local all, sum, slots = redis.call('HGETALL', key), 0, {}
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 1) == rate.of then
        local of, amount = num(string.sub(all[i], 2)), num(all[i + 1])
        if of + SPAN <= slot or of > slot + 2 * SPAN then redis.call('HDEL', key, all[i])
        else
          sum = sum + amount
          slots[#slots + 1] = {of, amount}
        end
      end
    end
    table.sort(slots, function(a, b) return a[1] < b[1] end)
    return sum, slots
  end
  -- Whether what could be had on top is too little to be worth it: near a limit it would only be kept from others. What nobody
  -- waits for is had whole or not at all.
  local function crumb(extra, least, most)
    if least > 0 then return extra < 4 * least and least + extra < most end
    return extra < most
  end
  local function four(high, low) return 4 * high + math.floor(4 * low / UNIT), (4 * low) % UNIT end
  local function money_crumb(eh, el, lh, ll, mh, ml)
    if lh > 0 or ll > 0 then
      local fh, fl = four(lh, ll)
      local sh, sl = plus(lh, ll, eh, el)
      return less(eh, el, fh, fl) and less(sh, sl, mh, ml)
    end
    return less(eh, el, mh, ml)
  end
  local function leaves(of, rate) return (of + SPAN) * rate.slot * 1000 - now end

  local function claimed(account)
    local key, sum = prefix .. 'p:' .. account, 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      local count, ends = string.match(all[i + 1], '(%d+):(%d+)')
      if num(ends) <= now or num(ends) > now + 2 * CLAIM_LIFE then redis.call('HDEL', key, all[i]) else sum = sum + num(count) end
    end
    return sum
  end

  for _ = 1, number() do
    local requests, denied, refusal, new = {}, nil, nil, 0
    for place = 1, number() do
      local kind, account, least, most, limit, period, ends = arg(), arg(), arg(), arg(), arg(), arg(), arg()
      local request = {kind = kind, account = account, period = period}
      requests[place] = request
      if kind == 'm' then
        request.key, request.ends = purse(account, period), ends
        local lh, ll = split(least)
        local mh, ml = split(most)
        local limit_high, limit_low = split(limit)
        local spent, all_held, refused_of, refused, from = unpack(redis.call('HMGET', request.key, 's', 'r', 'x', 'y', 'c'))
        request.refused_of, request.refused = refused_of, refused
        request.limit_high, request.limit_low = limit_high, limit_low
        local sh, sl = split(spent)
        request.th, request.tl = plus(sh, sl, split(all_held))
        -- What is under way in the period that this one took over is not spent yet, and will count here.
        local rh, rl = 0, 0
        if not spent and not all_held then
          from, sh, sl, rh, rl = inherited(account, period, ends)
          request.th, request.tl = sh, sl
        elseif from then rh, rl = split(redis.call('HGET', purse(account, from), 'r')) end
        request.th, request.tl = plus(request.th, request.tl, rh, rl)
        local nh, nl = plus(request.th, request.tl, lh, ll)
        local over = ends ~= '' and tonumber(ends) <= now
        -- One too many waits for tomorrow. Whatever else is said counts: what was spent or is held is there, whether it is counted or not.
        if not spent and not all_held then new = new + 1 end
        local is_too_many = not spent and not all_held and new_purses + new > MAX_NEW_PURSES
        if over or is_too_many or less(limit_high, limit_low, nh, nl) then
          if not denied then
            local wait = -1
            if over then wait = 0
            elseif less(limit_high, limit_low, lh, ll) then wait = -1
            elseif is_too_many then wait = (today + 1) * DAY - now
            elseif ends ~= '' then wait = tonumber(ends) - now end
            denied = {0, place - 1, join(request.th, request.tl), wait}
            -- A call that would fit into a whole budget finds none: that is told of. What nobody waits for is not, nor what never fits.
            if not over and not is_too_many and (lh > 0 or ll > 0) and not less(limit_high, limit_low, lh, ll) then
              refusal = {request.key, 'x', limit, 'y', least}
            end
          end
        else
          local roh, rol = minus(limit_high, limit_low, nh, nl)
          local eh, el = divide(roh, rol, 2 * live_count)
          local xh, xl = minus(mh, ml, lh, ll)
          if less(xh, xl, eh, el) then eh, el = xh, xl end
          if money_crumb(eh, el, lh, ll, mh, ml) then eh, el = 0, 0 end
          request.gh, request.gl = plus(lh, ll, eh, el)
        end
      else
        least, most, limit = tonumber(least), tonumber(most), tonumber(limit)
        local rate, slots = RATES[kind], nil
        if kind == 'p' then request.taken = claimed(account) else request.taken, slots = window(account, rate) end
        if request.taken + least > limit then
          if not denied then
            local wait = -1
            if least > limit then wait = -1
            elseif kind == 'p' then wait = 0
            else
              local rest = request.taken
              for _, each in ipairs(slots) do
                rest = rest - each[2]
                if rest + least <= limit then wait = leaves(each[1], rate); break end
              end
            end
            denied = {0, place - 1, string.format('%.0f', request.taken), wait}
          end
        else
          local extra = math.floor((limit - request.taken - least) / (2 * live_count))
          extra = math.max(0, math.min(most - least, extra))
          if crumb(extra, least, most) then extra = 0 end
          request.granted = least + extra
          request.reset = slots and #slots > 0 and leaves(slots[#slots][1], rate) or 0
        end
      end
    end
    if not granting then
      answer[#answer + 1] = {2}
    elseif denied then
      answer[#answer + 1] = denied
      if refusal then redis.call('HSET', unpack(refusal)) end
    else
      local granted = {1}
      local beside = {}
      for _, request in ipairs(requests) do
        if request.kind == 'm' then
          local oh, ol = split(redis.call('HGET', request.key, 'h:' .. sidecar))
          oh, ol = plus(oh, ol, request.gh, request.gl)
          set_hold(request.key, oh, ol, request.account, request.period, request.ends, beside)
          keep(request.key, request.ends)
          if request.refused_of then
            -- What was refused would have room beside this: others only held it for a while.
            local ah, al = plus(request.th, request.tl, request.gh, request.gl)
            ah, al = plus(ah, al, split(request.refused))
            if not less(request.limit_high, request.limit_low, ah, al) then redis.call('HDEL', request.key, 'x', 'y') end
          end
          granted[#granted + 1] = join(request.gh, request.gl)
          granted[#granted + 1] = join(plus(request.th, request.tl, request.gh, request.gl))
          granted[#granted + 1] = 0
        elseif request.kind == 'p' then
          local key = prefix .. 'p:' .. request.account
          local mine = num(string.match(redis.call('HGET', key, sidecar) or '0:0', '(%d+):'))
          redis.call('HSET', key, sidecar, string.format('%.0f:%.0f', mine + request.granted, now + CLAIM_LIFE))
          redis.call('PEXPIRE', key, 2 * CLAIM_LIFE)
          granted[#granted + 1] = string.format('%.0f', request.granted)
          granted[#granted + 1] = string.format('%.0f', request.taken + request.granted)
          granted[#granted + 1] = 0
        else
          if request.granted > 0 then -- a slot of nothing would only look as if something were to come back
            local rate = RATES[request.kind]
            local key, field = prefix .. rate.window .. request.account, rate.of .. string.format('%.0f', slot_at(now + life, rate))
            local counted = num(redis.call('HGET', key, field))
            redis.call('HSET', key, field, string.format('%.0f', counted + request.granted))
            keep_window(key, rate)
          end
          granted[#granted + 1] = string.format('%.0f', request.granted)
          granted[#granted + 1] = string.format('%.0f', request.taken + request.granted)
          granted[#granted + 1] = request.reset
        end
      end
      answer[#answer + 1] = granted
    end
  end

  note(not asks_only)
  redis.call('PEXPIRE', held, 400 * DAY)
  return answer
end

-- What a sidecar says of itself: that it is there, and which config it serves by. Those that were not heard of for a minute are forgotten, and
-- what no sidecar says.
--
-- keys[1]: the hash of the namespace. args: sidecar, generation, pod.
local function acknowledge(keys, args)
  local sidecar, generation, pod = args[1] or '', args[2] or '', args[3] or ''
  if not is_sidecar(sidecar) then return refuse('no sidecar has such a name') end
  if not is_pico(generation) then return refuse('the generation is no number') end
  if #pod > 253 or string.find(pod, '[^%w.-]') then return refuse('no pod has such a name') end
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  if redis.call('HLEN', keys[1]) > 2 * MAX_SIDECARS then return refuse('there is more in this namespace than sidecars write') end
  local all, known, count = redis.call('HGETALL', keys[1]), false, 0
  for i = 1, #all, 2 do
    local at = is_sidecar(all[i]) and #all[i + 1] <= 320 and tonumber(string.match(all[i + 1], '^%d+ (%d+)'))
    if not at or now - at > 60000 or at - now > 60000 then redis.call('HDEL', keys[1], all[i])
    else
      count = count + 1
      known = known or all[i] == sidecar
    end
  end
  if not known and count >= MAX_SIDECARS then return refuse('this namespace has as many sidecars as there can be: ' .. MAX_SIDECARS) end
  redis.call('HSET', keys[1], sidecar, generation .. ' ' .. string.format('%.0f', now) .. ' ' .. pod)
  redis.call('PEXPIRE', keys[1], DAY)
  return now
end

-- Has the ledger tell apart so many of a family and no more: the rest shares one entry, and nothing of it is lost. For the operator,
-- which finds what was not counted when it came.
--
-- keys[1]: the hash of all spend, or that of a month. keys[2]: the Team's counts. args: family ('u', 'k', 'm' or 'g'), how many there are
-- then ('': that is not said), and the names that are told apart no more.
local function fold(keys, args)
  local family = FAMILIES[args[1] or '']
  if not family or #args > MAX_TIDIED + 2 then return refuse('no operator says such a thing') end
  local folded = 0
  for i = 3, #args do
    if string.sub(args[i], 1, 2) == args[1] .. ':' and args[i] ~= family.other then
      for _, quantity in ipairs({':r', ':t', ':p'}) do
        local amount = redis.call('HGET', keys[1], args[i] .. quantity)
        if amount and is_pico(amount) then add(keys[1], family.other .. quantity, amount) end
        redis.call('HDEL', keys[1], args[i] .. quantity)
      end
      folded = folded + 1
    end
  end
  if args[2] ~= '' then redis.call('HSET', keys[2], family.count, string.format('%.0f', num(args[2]))) end
  return folded
end

-- Removes fields of a hash that are still what the operator found them to be.
--
-- keys[1]: the hash. args: fields and their values.
local function drop(keys, args)
  if #args > 2 * MAX_TIDIED then return refuse('no operator says such a thing') end
  local dropped = 0
  for i = 1, #args - 1, 2 do
    if redis.call('HGET', keys[1], args[i]) == args[i + 1] then dropped = dropped + redis.call('HDEL', keys[1], args[i]) end
  end
  return dropped
end

redis.register_function(LIBRARY .. '_exchange', exchange)
redis.register_function(LIBRARY .. '_acknowledge', acknowledge)
-- A store that is full is where there is something to be tidied up.
redis.register_function{function_name = LIBRARY .. '_fold', callback = fold, flags = {'allow-oom'}}
redis.register_function{function_name = LIBRARY .. '_drop', callback = drop, flags = {'allow-oom'}}
