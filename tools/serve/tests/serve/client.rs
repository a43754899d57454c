//! Requests, and what comes back.

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: String,
}

/// Asks with a body, or with none.
pub(crate) fn ask(method: &str, url: &str, body: Option<&str>) -> Reply {
    ask_with(method, url, &[], body)
}

/// The same with headers.
pub(crate) fn ask_with(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Reply {
    let agent: Agent =
        Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true).build().into();
    let mut request = Request::builder().method(method).uri(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match body {
        Some(body) => agent.run(request.body(body).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    }
    .unwrap();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    Reply {
        status: response.status().as_u16(),
        kind: kind.unwrap_or_default(),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

pub(crate) fn get(url: &str) -> Reply {
    ask("GET", url, None)
}

pub(crate) fn post(url: &str, body: &Value) -> Reply {
    ask("POST", url, Some(&body.to_string()))
}

impl Reply {
    /// The JSON of an answer that is whole.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.kind, "application/json", "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    /// The JSON of one that succeeded.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The values of an answer that comes a line each.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        assert_eq!((self.status, self.kind.as_str()), (200, "application/x-ndjson"), "{self:?}");
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The server-sent events: the name and the data of each.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        assert_eq!((self.status, self.kind.as_str()), (200, "text/event-stream"), "{self:?}");
        let field = |event: &str, name: &str| {
            let mut lines = event.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().unwrap_or_default().trim().to_owned()
        };
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        events.map(|event| (field(event, "event:"), field(event, "data:"))).collect()
    }

    /// The data of events that are JSON, without an end that is none.
    #[track_caller]
    pub(crate) fn data(&self) -> Vec<Value> {
        let events = self.events().into_iter().filter(|(_, data)| data != "[DONE]");
        events.map(|(_, data)| serde_json::from_str(&data).unwrap()).collect()
    }
}
