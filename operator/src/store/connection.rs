//! One connection to a store, as the administrator, for reading what stands under keys: masters only.

use redis::{
    ConnectionAddr, FromRedisValue, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates, aio::MultiplexedConnection, cluster::ClusterClientBuilder, cluster_async::ClusterConnection, cmd,
};
use vectoll_config::Topology;

use super::{
    access::Access,
    servers::{SERVER_TIMEOUT, master_of, open},
};

/// A connection. A handle: clones use the same one.
#[derive(Clone)]
pub enum Connection {
    /// To the one server, or the one that Sentinels call the master.
    One(MultiplexedConnection),
    /// To all masters of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects and logs in.
    pub async fn open(access: &Access) -> RedisResult<Self> {
        match access.url.topology() {
            Topology::Single { database } => {
                let mut connection = first(access).await?;
                if *database != 0 {
                    cmd("SELECT").arg(*database).query_async::<()>(&mut connection).await?;
                }
                Ok(Self::One(connection))
            }
            Topology::Sentinel { master } => {
                let mut last = no_host();
                for (host, port) in access.url.hosts() {
                    match master_of(access, host, *port, master).await {
                        Ok((host, port)) => return open(access, &host, port, true).await.map(Self::One),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Topology::Cluster => cluster(access).await.map(Self::Cluster),
        }
    }

    /// Asks several things in one go. In a cluster all of their keys must share a hash slot.
    pub async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        match self.clone() {
            Self::One(mut connection) => pipeline.query_async(&mut connection).await,
            Self::Cluster(mut connection) => pipeline.query_async(&mut connection).await,
        }
    }
}

fn no_host() -> RedisError {
    RedisError::from((redis::ErrorKind::InvalidClientConfig, "no host"))
}

async fn first(access: &Access) -> RedisResult<MultiplexedConnection> {
    let mut last = no_host();
    for (host, port) in access.url.hosts() {
        match open(access, host, *port, true).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn cluster(access: &Access) -> RedisResult<ClusterConnection> {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &access.username {
        login = login.set_username(username);
    }
    if let Some(password) = &access.password {
        login = login.set_password(password.reveal());
    }
    let nodes = access.url.hosts().iter().map(|(host, port)| {
        let (host, port) = (host.clone(), *port);
        let address = if access.url.tls() {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        Ok(address.into_connection_info()?.set_redis_settings(login.clone()))
    });
    let mut builder = ClusterClientBuilder::new(nodes.collect::<RedisResult<Vec<_>>>()?)
        .connection_timeout(SERVER_TIMEOUT)
        .response_timeout(SERVER_TIMEOUT)
        .retries(1);
    if access.url.tls() {
        builder = builder.certs(TlsCertificates { client_tls: None, root_cert: access.ca.clone() });
    }
    builder.build()?.get_async_connection().await
}
