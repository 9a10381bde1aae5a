//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Load for a push gateway, bounded in time and count, and a check of what it stored.
///
/// Without --rate the loop is closed: each connection sends when it was answered. With it the loop is open:
/// requests are due at fixed times, and latencies count from then, sent late or not. Sends to loopback only,
/// unless told otherwise. Exit status 1 if an answer or what is stored is wrong.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(name = "loadgen", version)]
pub struct Options {
    /// HOST:PORT of the gateway.
    pub target: String,

    /// Requests due per second, of all connections together. Without it the loop is closed.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Connections at most at the same time.
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// Requests that a connection may have under way.
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// Opens a connection for each request.
    #[arg(long)]
    pub new_connections: bool,

    /// Seconds of load that count.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds of load before that.
    #[arg(long, default_value_t = 0.5)]
    pub warm_up: f64,
    /// Requests at most, those of the warm-up included.
    #[arg(long, default_value_t = 10_000_000)]
    pub requests: u64,

    /// Groups pushed to, in turns.
    #[arg(long, default_value_t = 1000)]
    pub groups: u32,
    /// Series of each group, in families of a tenth of them.
    #[arg(long, default_value_t = 100)]
    pub series: u32,
    /// Weights of PUT, POST and DELETE. A POST pushes the first half of the families.
    #[arg(long, default_value = "1,0,0", value_parser = mix)]
    pub mix: Mix,
    /// What bodies are written in.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Sends bodies as gzip.
    #[arg(long)]
    pub gzip: bool,
    /// The job label of the groups.
    #[arg(long, default_value = "load")]
    pub job: String,
    /// Comes before /metrics/job/ in the path.
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// A number that values and the order of methods come from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Scrapes this many seconds after the last scrape, while pushing.
    #[arg(long)]
    pub scrape_every: Option<f64>,
    /// The coding that scrapes ask for.
    #[arg(long, value_enum, default_value_t = ScrapeCoding::Identity)]
    pub scrape_coding: ScrapeCoding,
    /// Does not read back what is stored: for servers that keep nothing.
    #[arg(long)]
    pub no_check: bool,
    /// Seconds until what was answered must be stored: for servers that answer before.
    #[arg(long, default_value_t = 0.0)]
    pub stored_within: f64,

    /// The server's processes, whose CPU time is then measured.
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<i32>,
    /// Writes the record to this file; `-` is standard output.
    #[arg(long)]
    pub record: Option<PathBuf>,
    /// Prints no table and no progress.
    #[arg(long)]
    pub quiet: bool,
    /// Sends to other machines too.
    #[arg(long)]
    pub beyond_loopback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    Protobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScrapeCoding {
    Identity,
    Gzip,
}

/// Weights of the methods.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mix {
    pub put: u32,
    pub post: u32,
    pub delete: u32,
}

fn mix(text: &str) -> Result<Mix, String> {
    let weights: Option<Vec<u32>> = text.split(',').map(|weight| weight.trim().parse().ok()).collect();
    match weights.as_deref() {
        Some(&[put, post, delete]) if put.saturating_add(post) > 0 && put.max(post).max(delete) <= 1000 => {
            Ok(Mix { put, post, delete })
        }
        _ => Err("three weights up to 1000, as in 8,1,1; not both PUT and POST 0".to_owned()),
    }
}

impl Options {
    /// The address to send to.
    ///
    /// # Errors
    ///
    /// What the options say makes no sense together, or leads to another machine.
    pub fn check(&self) -> Result<SocketAddr, String> {
        let positive = |name: &str, value: f64| {
            if value.is_finite() && value > 0.0 { Ok(()) } else { Err(format!("--{name} must be above 0")) }
        };
        positive("seconds", self.seconds)?;
        self.rate.map_or(Ok(()), |rate| positive("rate", rate))?;
        self.scrape_every.map_or(Ok(()), |pause| positive("scrape-every", pause))?;
        let not_below = |name: &str, value: f64| {
            if value.is_finite() && value >= 0.0 {
                Ok(())
            } else {
                Err(format!("--{name} must not be below 0"))
            }
        };
        not_below("warm-up", self.warm_up)?;
        not_below("stored-within", self.stored_within)?;
        if self.connections == 0 || self.pipeline == 0 || self.groups == 0 || self.series == 0 {
            return Err("connections, pipeline, groups and series must be above 0".to_owned());
        }
        if self.new_connections && self.pipeline > 1 {
            return Err("--new-connections sends one request on each: --pipeline must be 1".to_owned());
        }
        let address = self
            .target
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| format!("{}: not HOST:PORT of a host that is known", self.target))?;
        if !address.ip().is_loopback() && !self.beyond_loopback {
            return Err(format!("{address} is not of loopback: say --beyond-loopback if that is meant"));
        }
        Ok(address)
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    pub fn load_time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub fn stored_within(&self) -> Duration {
        Duration::from_secs_f64(self.stored_within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_unless_told() {
        let options = |arguments: &[&str]| {
            Options::parse_from(["loadgen"].iter().chain(arguments)).check().map(|address| address.port())
        };
        assert_eq!(options(&["127.0.0.1:9"]), Ok(9));
        assert!(options(&["192.0.2.1:9"]).unwrap_err().contains("loopback"));
        assert_eq!(options(&["192.0.2.1:9", "--beyond-loopback"]), Ok(9));
        assert!(options(&["127.0.0.1:9", "--rate", "0"]).is_err());
        assert!(options(&["127.0.0.1:9", "--pipeline", "2", "--new-connections"]).is_err());
    }

    #[test]
    fn mixes() {
        assert_eq!(mix("8, 1,1").map(|mix| (mix.put, mix.post, mix.delete)), Ok((8, 1, 1)));
        assert!(mix("0,0,1").is_err() && mix("1,1").is_err() && mix("a,1,1").is_err());
    }
}
