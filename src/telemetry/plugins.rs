//! What is counted of plugins and by them, told at each scrape by whoever runs them.

use std::collections::HashMap;

use super::{OwnFamily, OwnSeries};

/// See the module.
#[derive(Debug, Default)]
pub struct PluginFigures {
    /// Series of the families that are declared beside the gateway's own, by the family's name.
    pub counted: HashMap<&'static str, Vec<OwnSeries>>,
    /// Families that plugins declared.
    pub declared: Vec<OwnFamily>,
}

/// Reads the figures; called by the renderer.
pub type Source = Box<dyn Fn() -> PluginFigures + Send + Sync>;
