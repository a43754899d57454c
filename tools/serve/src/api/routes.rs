//! Addresses with what answers at each. Tests know which there are, so that none is left out of the document that describes them.

use crate::server::Server;
use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, post};
use std::sync::Arc;

/// Addresses, each with its method and its handler.
pub(crate) struct Routes {
    router: Router<Arc<Server>>,
    #[cfg(test)]
    all: Vec<(&'static str, &'static str)>,
}

impl Routes {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            router: Router::new(),
            #[cfg(test)]
            all: Vec::new(),
        }
    }

    /// Adds one that is asked with GET, or with HEAD.
    pub(crate) fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Self {
        self.with("get", path, get(handler))
    }

    /// Adds one that is asked with POST.
    pub(crate) fn post<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<Server>>) -> Self {
        self.with("post", path, post(handler))
    }

    /// Adds one that is asked with DELETE.
    pub(crate) fn delete<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, Arc<Server>>,
    ) -> Self {
        self.with("delete", path, delete(handler))
    }

    /// Adds all of `others`.
    pub(crate) fn merge(self, others: Routes) -> Self {
        Self {
            router: self.router.merge(others.router),
            #[cfg(test)]
            all: [self.all, others.all].concat(),
        }
    }

    /// What finds the handler of a request.
    pub(crate) fn router(self) -> Router<Arc<Server>> {
        self.router
    }

    #[cfg_attr(not(test), allow(unused_variables, reason = "which method it is, only tests are told"))]
    fn with(self, method: &'static str, path: &'static str, handler: MethodRouter<Arc<Server>>) -> Self {
        Self {
            router: self.router.route(path, handler),
            #[cfg(test)]
            all: [self.all, vec![(method, path)]].concat(),
        }
    }

    /// The method and the address of each.
    #[cfg(test)]
    pub(crate) fn all(&self) -> &[(&'static str, &'static str)] {
        &self.all
    }
}
