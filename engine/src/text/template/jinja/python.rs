//! What Hugging Face's `apply_chat_template` gives a template, under the same names.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

use super::provenance::{give, plain, plain_value};
use super::{
    Raised, bounds, clock, compare, filters, format, given, groups, guard, json, methods, product, repr,
    strings,
};

/// An environment with Jinja2's white-space options as `transformers` sets them, its functions and filters, Python's
/// methods, and without what could work or allocate beyond the fuel or tell of the host.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_formatter(repr::print);
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("indent", strings::indent);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("string", repr::string);
    environment.add_filter("format", format::filter);
    filters::add_to(&mut environment);
    groups::add_to(&mut environment);
    environment.add_test("callable", is_callable);
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("range", range);
    environment.add_function("dict", given::dict);
    environment.add_function(guard::BOUNDED, bounds::bounded);
    environment.add_function(guard::COMPARED, compare::compare);
    environment.add_function(guard::KEY, compare::key);
    environment.add_function(guard::PRODUCT, product::product);
    environment.remove_global("debug");
    for filter in ["zip", "chain", "pprint"] {
        environment.remove_filter(filter);
    }
    environment
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message.to_owned())))
}

fn range(first: isize, second: Option<isize>, step: Option<isize>) -> Result<Value, Error> {
    let range = minijinja::functions::range(first, second, step)?;
    if range.len().is_some_and(|len| len > bounds::MAX_NODES) {
        let limit = bounds::MAX_NODES;
        return Err(Error::new(ErrorKind::InvalidOperation, format!("a range of more than {limit} numbers")));
    }
    Ok(range)
}

/// The filter `int(default=0, base=10)`; the engine's own fails where there is no default.
fn int(
    state: &State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    options: Kwargs,
) -> Result<Value, Error> {
    let default = default.map_or_else(|| options.get("default"), |default| Ok(Some(default)))?;
    minijinja::filters::int(
        state,
        &plain_value(value),
        Some(default.unwrap_or_else(|| Value::from(0))),
        base,
        options,
    )
}

/// The filter `float(default=0.0)`; the engine's own fails where there is no default.
fn float(
    state: &State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let default = default.map_or_else(|| options.get("default"), |default| Ok(Some(default)))?;
    minijinja::filters::float(
        state,
        &plain_value(value),
        Some(default.unwrap_or_else(|| Value::from(0.0))),
        options,
    )
}

/// Whether the value is a function or macro.
fn is_callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
}

/// Whether Python's `iter` takes the value; the engine's own test takes none too.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Whether the value has a length and items, as texts and mappings have too; the engine's own test takes lists alone.
fn is_sequence(value: &Value) -> bool {
    is_iterable(value) && value.kind() != ValueKind::Iterable
}

/// The function `strftime_now(format)` at a fixed time.
pub(super) fn strftime_now(seconds: u64) -> Value {
    Value::from_function(move |format: &str| {
        let said = plain(format);
        let time = clock::strftime(&said, seconds)
            .map_err(|problem| Error::new(ErrorKind::InvalidOperation, problem))?;
        Ok::<_, Error>(if said == format { time } else { give(&time) })
    })
}
