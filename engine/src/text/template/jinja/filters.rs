//! Filters and tests that ask what a text says: [`super::provenance`].

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use minijinja::value::{Kwargs, Rest, Tuple, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::provenance::{Traced, give, plain, plain_value, read};
use super::{compare, methods, repr};

/// Puts all of them in the engine's places.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    for (name, method) in [
        ("upper", "upper"),
        ("lower", "lower"),
        ("capitalize", "capitalize"),
        ("trim", "strip"),
        ("replace", "replace"),
        ("split", "split"),
    ] {
        let call = move |state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>| {
            let text = value.as_str().map_or_else(|| Value::from(repr::printed(value)), |_| value.clone());
            methods::call(state, &text, method, &args.into_values())
        };
        environment.add_filter(name, call);
    }
    environment.add_filter("title", |text: Cow<'_, str>| {
        Traced::new(&text).map(|says| minijinja::filters::title(says.into()))
    });
    environment.add_filter("lines", |text: Cow<'_, str>| -> Vec<String> {
        let traced = Traced::new(&text);
        traced.plain().lines().map(|line| traced.part(line).to_owned()).collect()
    });
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter("bool", |state: &State<'_, '_>, value: &Value| {
        minijinja::filters::bool(state, &plain_value(value))
    });
    environment.add_filter("attr", |value: &Value, name: &Value| {
        let found = compare::entry(value, name);
        found.map_or_else(|| minijinja::filters::attr(value, name), Ok)
    });
    environment.add_filter("sort", sort);
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("unique", unique);
    environment.add_filter("min", |state: &State<'_, '_>, value: &Value, options: Kwargs| {
        Ok::<_, Error>(sorted(state, value, &options)?.into_iter().next().unwrap_or_default())
    });
    environment.add_filter("max", |state: &State<'_, '_>, value: &Value, options: Kwargs| {
        Ok::<_, Error>(sorted(state, value, &options)?.into_iter().next_back().unwrap_or_default())
    });
    add_tests(environment);
}

fn add_tests(environment: &mut Environment<'static>) {
    for name in ["eq", "equalto", "=="] {
        environment.add_test(name, |value: &Value, other: &Value| compare::equal(value, other));
    }
    for name in ["ne", "!="] {
        environment.add_test(name, |value: &Value, other: &Value| !compare::equal(value, other));
    }
    for (names, wanted) in [
        (&["lt", "lessthan", "<"][..], &[Ordering::Less][..]),
        (&["le", "<="], &[Ordering::Less, Ordering::Equal]),
        (&["gt", "greaterthan", ">"], &[Ordering::Greater]),
        (&["ge", ">="], &[Ordering::Greater, Ordering::Equal]),
    ] {
        for &name in names {
            environment.add_test(name, move |value: &Value, other: &Value| {
                wanted.contains(&compare::order(value, other))
            });
        }
    }
    environment.add_test("in", |state: &State<'_, '_>, value: &Value, container: &Value| {
        compare::contains(state, container, value).unwrap_or(false)
    });
    environment.add_test("startingwith", |text: Cow<'_, str>, other: Cow<'_, str>| {
        plain(&text).starts_with(plain(&other).as_ref())
    });
    environment.add_test("endingwith", |text: Cow<'_, str>, other: Cow<'_, str>| {
        plain(&text).ends_with(plain(&other).as_ref())
    });
    environment.add_test("lower", |value: &Value| minijinja::tests::is_lower(&plain_value(value)));
    environment.add_test("upper", |value: &Value| minijinja::tests::is_upper(&plain_value(value)));
}

/// The filter `escape`, for HTML. What stands for a given character is given.
fn escape(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| repr::printed(value).into(), Cow::Borrowed);
    let mut out = String::with_capacity(text.len());
    for (_, origin) in read(&text) {
        let escaped = match origin.c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&#34;".to_owned(),
            '\'' => "&#39;".to_owned(),
            c => c.to_string(),
        };
        out.push_str(&if origin.given { give(&escaped) } else { escaped });
    }
    out
}

/// What a value is sorted by.
pub(super) struct SortKey {
    case_sensitive: bool,
    /// Names to follow, instead of the value itself.
    paths: Vec<String>,
}

impl SortKey {
    fn new(options: &Kwargs) -> Result<SortKey, Error> {
        let case_sensitive = options.get::<Option<bool>>("case_sensitive")?.unwrap_or(false);
        let paths = options.get::<Option<&str>>("attribute")?.unwrap_or_default();
        let paths = paths.split(',').map(str::trim).filter(|path| !path.is_empty());
        Ok(SortKey { case_sensitive, paths: paths.map(str::to_owned).collect() })
    }

    /// By what is found where one path leads.
    pub(super) fn by(path: &str, case_sensitive: bool) -> SortKey {
        SortKey { case_sensitive, paths: vec![path.to_owned()] }
    }

    fn of(&self, item: &Value) -> Vec<Value> {
        match self.paths.is_empty() {
            true => vec![self.fold(item)],
            false => self.paths.iter().map(|path| self.fold(&follow(item, path))).collect(),
        }
    }

    /// What is found where the first path leads.
    pub(super) fn found(&self, item: &Value) -> Value {
        self.paths.first().map_or_else(|| item.clone(), |path| follow(item, path))
    }

    /// A value as it is compared.
    pub(super) fn fold(&self, value: &Value) -> Value {
        match value.as_str() {
            Some(text) if !self.case_sensitive => Value::from(plain(text).to_lowercase()),
            _ => plain_value(value),
        }
    }
}

/// What a value has where a path of names and numbers leads.
fn follow(value: &Value, path: &str) -> Value {
    path.split('.').fold(value.clone(), |value, name| match name.parse::<usize>() {
        Ok(index) => value.get_item_by_index(index).unwrap_or_default(),
        Err(_) => value.get_attr(name).unwrap_or_default(),
    })
}

/// The values in order, equal ones as they came.
fn sorted(state: &State<'_, '_>, value: &Value, options: &Kwargs) -> Result<Vec<Value>, Error> {
    let key = SortKey::new(options)?;
    options.assert_all_used()?;
    let items: Vec<Value> = value.try_iter()?.collect();
    charge(state, items.len())?;
    let mut keyed: Vec<(Vec<Value>, Value)> = items.into_iter().map(|item| (key.of(&item), item)).collect();
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

/// Sorting compares each value as often as there are bits in their number.
pub(super) fn charge(state: &State<'_, '_>, items: usize) -> Result<(), Error> {
    state.consume_fuel(items as u64 * u64::from(1 + items.checked_ilog2().unwrap_or(0)))
}

/// The filter `sort(reverse=False, case_sensitive=False, attribute=None)`.
fn sort(
    state: &State<'_, '_>,
    value: &Value,
    reverse: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    let reverse = reverse.map_or_else(|| options.get("reverse"), |reverse| Ok(Some(reverse)))?;
    let mut items = sorted(state, value, &options)?;
    if reverse == Some(true) {
        // Equal values stay as they came.
        let key = SortKey::new(&options)?;
        items.sort_by_cached_key(|item| Reverse(key.of(item)));
    }
    Ok(Value::from(items))
}

/// The filter `dictsort(case_sensitive=False, by="key", reverse=False)`.
fn dictsort(state: &State<'_, '_>, mapping: &Value, options: Kwargs) -> Result<Value, Error> {
    let by = options.get::<Option<Cow<'_, str>>>("by")?.map(|by| plain(&by).into_owned());
    let reverse = options.get::<Option<bool>>("reverse")?.unwrap_or(false);
    let key = SortKey {
        case_sensitive: options.get::<Option<bool>>("case_sensitive")?.unwrap_or(false),
        paths: vec![],
    };
    options.assert_all_used()?;
    let place = match by.as_deref() {
        None | Some("key") => 0,
        Some("value") => 1,
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "dictsort by what is neither key nor value"));
        }
    };
    let pairs = mapping.as_object().and_then(|object| object.try_iter_pairs());
    let pairs =
        pairs.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "dictsort of what is no mapping"))?;
    let mut pairs: Vec<[Value; 2]> = pairs.map(|(key, value)| [key, value]).collect();
    charge(state, pairs.len())?;
    let by = |pair: &[Value; 2]| pair.get(place).map(|value| key.of(value));
    pairs.sort_by(|one, other| if reverse { by(other).cmp(&by(one)) } else { by(one).cmp(&by(other)) });
    Ok(pairs.into_iter().map(|pair| Value::from(Tuple::from(pair))).collect())
}

/// The filter `unique(case_sensitive=False, attribute=None)`.
fn unique(state: &State<'_, '_>, value: &Value, options: Kwargs) -> Result<Value, Error> {
    let key = SortKey::new(&options)?;
    options.assert_all_used()?;
    let items: Vec<Value> = value.try_iter()?.collect();
    charge(state, items.len())?;
    let mut seen = BTreeSet::new();
    Ok(items.into_iter().filter(|item| seen.insert(key.of(item))).collect())
}
