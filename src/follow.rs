//! What follows the settings while the process serves, besides entry points: the log, the access log, names, providers,
//! and how what they tell of is judged.

use portolan_config::{Settings, settings};
use portolan_discovery::{ProviderName, provider::docker, registry};
use portolan_dns as dns;
use portolan_proxy::Inherited;
use portolan_proxy::access_log::{AccessLog, Writer};
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};

use crate::life::NAME_SERVER_WAIT;
use crate::logging::Logging;
use crate::name_server::NameServer;
use crate::run::{policy, swarm_policy};
use crate::sources::Sources;
use crate::steer::Order;

/// What can be changed.
pub struct Followers {
    pub logging: Logging,
    pub access_logs: AccessLogs,
    pub name_server: Option<NameServer>,
    pub sources: Sources,
    pub registry: prometheus::Registry,
    /// There once names were answered.
    pub dns_metrics: Option<dns::Metrics>,
}

/// The access log, and those before it.
pub struct AccessLogs {
    registry: prometheus::Registry,
    /// Registered with the first log.
    dropped: Option<IntCounter>,
    /// The newest one's.
    writer: Option<Writer>,
}

impl AccessLogs {
    /// None is open yet.
    pub fn new(registry: &prometheus::Registry) -> Self {
        Self { registry: registry.clone(), dropped: None, writer: None }
    }

    /// Opens a log, where one is asked for.
    pub fn open(&mut self, wanted: Option<&settings::AccessLog>) -> Result<Option<AccessLog>, String> {
        let Some(wanted) = wanted else {
            self.writer = None;
            return Ok(None);
        };
        let dropped = match &self.dropped {
            Some(dropped) => dropped.clone(),
            None => AccessLog::register(&self.registry).map_err(|error| error.to_string())?,
        };
        self.dropped = Some(dropped.clone());
        let (log, writer) = AccessLog::start(wanted, dropped).map_err(|error| {
            let file = wanted.file.as_ref();
            let shown = file.map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
            format!("--access-log: {shown} can't be written: {error}")
        })?;
        self.writer = Some(writer);
        Ok(Some(log))
    }

    /// Waits until everything is written.
    pub fn finish(self) {
        if let Some(writer) = self.writer {
            writer.finish();
        }
    }
}

impl Followers {
    /// Follows from `now` to `wanted`. What can't be had is said and stays as it is: `wanted` is what counts then.
    pub async fn follow(
        &mut self,
        now: &Settings,
        wanted: &mut Settings,
        orders: &mpsc::Sender<Order>,
        asks: &mpsc::Sender<registry::Ask>,
    ) {
        if now.log != wanted.log
            && let Err(error) = self.logging.change(&wanted.log)
        {
            tracing::error!(%error, "the log is as it was");
            wanted.log = now.log.clone();
        }
        if now.access_log != wanted.access_log {
            match self.access_logs.open(wanted.access_log.as_ref()) {
                Ok(log) => drop(orders.send(Order::Log(log)).await),
                Err(error) => {
                    tracing::error!(%error, "the access log is as it was");
                    wanted.access_log.clone_from(&now.access_log);
                }
            }
        }
        if now.data_path != wanted.data_path {
            let _ = orders.send(Order::Travel(wanted.data_path)).await;
        }
        if now.dns != wanted.dns
            && let Err(error) = self.follow_names(wanted.dns.as_ref(), orders).await
        {
            tracing::error!(%error, "the name server is as it was");
            wanted.dns.clone_from(&now.dns);
        }
        let judge = registry::Ask::Judge(policy(wanted), policies(wanted));
        let _ = asks.send(judge).await;
        for gone in self.sources.follow(now, wanted) {
            let _ = asks.send(registry::Ask::Forget(gone)).await;
        }
    }

    /// Answers names as these settings say, with the sockets of before where the addresses are the same.
    async fn follow_names(
        &mut self,
        wanted: Option<&settings::Dns>,
        orders: &mpsc::Sender<Order>,
    ) -> Result<(), String> {
        let (naming, mut next) = match (wanted, &self.name_server) {
            (None, _) => None,
            (Some(wanted), Some(server)) => Some(server.successor(wanted)?),
            (Some(wanted), None) => {
                Some(NameServer::bind(wanted, self.dns_metrics()?, &mut Inherited::default())?)
            }
        }
        .unzip();
        let (answer, in_place) = oneshot::channel();
        let _ = orders.send(Order::Names(naming.map(Box::new), answer)).await;
        let _ = in_place.await;
        if let Some(server) = &mut next {
            server.serve()?;
        }
        // The one before takes nothing more once the other does. What it took it answers by the old settings, and is waited
        // for: afterwards the new ones count.
        let before = std::mem::replace(&mut self.name_server, next);
        if let Some(ended) = before.and_then(NameServer::stop) {
            let _ = tokio::time::timeout(NAME_SERVER_WAIT, ended).await;
        }
        Ok(())
    }

    /// What names are counted into: one for all name servers of this process.
    fn dns_metrics(&mut self) -> Result<dns::Metrics, String> {
        if let Some(metrics) = &self.dns_metrics {
            return Ok(metrics.clone());
        }
        let metrics = dns::Metrics::register(&self.registry).map_err(|error| error.to_string())?;
        Ok(self.dns_metrics.insert(metrics).clone())
    }
}

/// How what single providers tell of is judged.
pub fn policies(settings: &Settings) -> Vec<(ProviderName, portolan_discovery::chart::Policy)> {
    vec![(ProviderName::new(docker::SWARM), swarm_policy(settings))]
}
