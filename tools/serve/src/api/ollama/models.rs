//! `GET /api/tags`, `GET /api/ps`, `POST /api/show`: which models there are.

use super::{respond, tagged, time};
use crate::http;
use crate::models::{Described, Entry, open_file};
use crate::refusal::Refusal;
use crate::server::Server;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde_json::{Map, Value, json};
use siskin::gguf::{self, Gguf};
use siskin_kit::json::Object;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Lists the models.
pub(super) async fn tags(State(server): State<Arc<Server>>) -> Response {
    let mut models = Vec::new();
    for entry in server.models.all().await {
        // A file that is no model, or is gone, is none of them.
        if let Ok(described) = entry.describe().await {
            models.push(tag(&entry, described));
        }
    }
    http::json(200, &json!({"models": models}))
}

fn tag(entry: &Entry, described: &Described) -> Value {
    let name = tagged(&entry.name);
    json!({
        "name": name,
        "model": name,
        "modified_at": time(described.modified),
        "size": described.bytes,
        "digest": described.digest,
        "details": details(described),
    })
}

fn details(described: &Described) -> Value {
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": described.family,
        "families": [described.family],
        "parameter_size": parameters(described.parameters),
        "quantization_level": described.quantization,
    })
}

/// A number of weights as people say it: `134.52M`.
fn parameters(count: u64) -> String {
    let count = count as f64;
    match count {
        1e9.. => format!("{:.1}B", count / 1e9),
        1e6.. => format!("{:.2}M", count / 1e6),
        1e3.. => format!("{:.2}K", count / 1e3),
        _ => format!("{count}"),
    }
}

/// Lists the models in memory.
pub(super) async fn ps(State(server): State<Arc<Server>>) -> Response {
    /// When a model leaves that stays for good: as good as never, in a form that all clients read.
    const NEVER: Duration = Duration::from_hours(24 * 365 * 100);
    let mut models = Vec::new();
    for entry in server.models.distinct() {
        let (Some((loaded, left)), Ok(described)) = (entry.loaded(), entry.describe().await) else {
            continue;
        };
        let mut model = tag(&entry, described);
        model["size"] = json!(loaded.bytes());
        model["size_vram"] = json!(0);
        model["context_length"] = json!(loaded.context);
        let left = left.unwrap_or(NEVER).min(NEVER);
        model["expires_at"] = json!(time(SystemTime::now() + left));
        models.push(model);
    }
    http::json(200, &json!({"models": models}))
}

/// Tells all that a model's file says of it.
pub(super) async fn show(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let show = async {
        let mut fields = http::read_json(&server, request).await?;
        let verbose = fields.flag("verbose")?.unwrap_or(false);
        let entry = server.models.find(name(&mut fields)?.as_deref()).await?;
        let described = entry.describe().await?;
        let reading = Arc::clone(&entry);
        let info = move || open_file(&reading.name, &reading.source).map(|file| info(&file, verbose));
        let info = tokio::task::spawn_blocking(info).await.map_err(Refusal::internal)?;
        let info = info.map_err(|error| entry.unusable(&format!("{error:#}")))?;
        let mut model = json!({
            "modelfile": format!("FROM {}\n", tagged(&entry.name)),
            "parameters": recommended(described),
            "template": described.template,
            "details": details(described),
            "model_info": info,
            "capabilities": capabilities(described),
            "modified_at": time(described.modified),
        });
        if let Some(license) = &described.license {
            model["license"] = json!(license);
        }
        Ok(http::json(200, &model))
    };
    respond(show.await)
}

/// A model's name, which older clients write in another field.
pub(super) fn name(fields: &mut Object) -> Result<Option<String>, Refusal> {
    let (model, name) = (fields.text("model")?, fields.text("name")?);
    Ok(model.filter(|model| !model.is_empty()).or(name))
}

fn capabilities(described: &Described) -> Vec<&'static str> {
    let thinking = described.thinks.then_some("thinking");
    ["completion"].into_iter().chain(thinking).collect()
}

/// The sampler settings that a file recommends, a line each.
fn recommended(described: &Described) -> String {
    let sampling = &described.sampling;
    let settings = [
        ("temperature", sampling.temperature),
        ("top_k", sampling.top_k.map(|top| top as f32)),
        ("top_p", sampling.top_p),
        ("min_p", sampling.min_p),
        ("repeat_penalty", sampling.repeat_penalty),
    ];
    let lines = settings.into_iter().filter_map(|(name, value)| Some(format!("{name:<30} {}", value?)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A file's keys. Arrays, which are long, are told to who asks for them.
fn info(file: &Gguf, verbose: bool) -> Value {
    let value = |(key, value): (&str, gguf::Value<'_>)| (key.to_owned(), value_of(value, verbose));
    let mut keys: Map<String, Value> = file.metadata().map(value).collect();
    let parameters: u64 = file.tensors().iter().map(gguf::TensorInfo::elements).sum();
    keys.entry("general.parameter_count").or_insert(json!(parameters));
    Value::Object(keys)
}

fn value_of(value: gguf::Value<'_>, with_arrays: bool) -> Value {
    match value {
        gguf::Value::F32(number) => json!(number),
        gguf::Value::F64(number) => json!(number),
        gguf::Value::Bool(truth) => json!(truth),
        gguf::Value::Str(text) => json!(String::from_utf8_lossy(text)),
        gguf::Value::Array(array) if with_arrays => array.iter().map(|item| value_of(item, true)).collect(),
        gguf::Value::Array(_) => Value::Null,
        gguf::Value::U64(number) => json!(number),
        integer => json!(integer.as_integer().and_then(|number| i64::try_from(number).ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_tags_and_numbers_of_weights_are_said_as_people_do() {
        for (name, expected) in [
            ("demo", "demo:latest"),
            ("hf.co/a/b:Q4_0", "hf.co/a/b:Q4_0"),
            ("hf.co/a/b", "hf.co/a/b:latest"),
            ("http://host:80/b.gguf", "http://host:80/b.gguf:latest"),
        ] {
            assert_eq!(tagged(name), expected);
        }
        for (count, expected) in
            [(134_515_008, "134.52M"), (1_240_000_000, "1.2B"), (999, "999"), (150_000, "150.00K")]
        {
            assert_eq!(parameters(count), expected);
        }
    }
}
