//! Templates from strangers: each ends in an error or in text, with bounded memory and steps, on a small stack.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use siskin::template::{CHATML, ChatTemplate, MAX_OUTPUT, Message, TemplateError};

/// Compiles and renders on the stack of an ordinary thread.
fn render(source: impl Into<String>) -> Result<String, TemplateError> {
    let source = source.into();
    let work = move || {
        let messages = [Message::new("user", "Hello"), Message::new("assistant", "World")];
        ChatTemplate::new(&source, Some("<s>"), Some("</s>"))?.render(&messages, true)
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no panic")
}

fn assert_refused(name: &str, source: impl Into<String>) {
    let error = render(source).map(|text| text.len()).expect_err(name).to_string();
    assert!(!error.contains('\n') && error.starts_with("chat template "), "{name}: {error}");
}

#[test]
fn no_attribute_leads_to_the_host() {
    // CVE-2024-34359 and its kin: the ways from a value to Python's internals.
    for source in [
        "{{ ''.__class__ }}",
        "{{ messages.__class__ }}",
        "{{ cycler }}{{ joiner }}{{ lipsum }}{{ self }}{{ request }}",
        "{{ messages[0].__init__ }}{{ raise_exception.__globals__ }}",
        "{{ {}['__class__'] }}{{ ''|attr('__class__') }}",
    ] {
        let text = render(source).expect("an undefined value prints as nothing");
        assert!(text.is_empty(), "{source}: {text}");
    }
    for source in [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
        "{{ messages.__getattribute__('x') }}",
        "{{ namespace().__class__.mro() }}",
        "{{ open('/etc/passwd').read() }}",
        "{{ debug() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'chat_template' %}",
    ] {
        assert_refused(source, source);
    }
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for x in [1] %}", "{% endfor %}"),
        ("{% macro m() %}", "{% endmacro %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% set x %}", "{% endset %}"),
    ] {
        for depth in [1_000, 100_000] {
            assert_refused(open, open.repeat(depth) + &close.repeat(depth));
        }
    }
    for (open, close) in [("(", ")"), ("[", "]"), ("{1:", "}"), ("f(", ")"), ("a[", "]"), ("(a,", ")")] {
        for depth in [480, 100_000] {
            assert_refused(open, format!("{{{{ {}1{} }}}}", open.repeat(depth), close.repeat(depth)));
            assert_refused(open, format!("{{% for {}a{} in x %}}", "(".repeat(depth), ")".repeat(depth)));
        }
    }
}

#[test]
fn long_chains_are_refused() {
    let chains = [
        "+a",
        "-a",
        "~a",
        " and a",
        " or a",
        "<a",
        ".a",
        "|e",
        "**1",
        " is defined",
        "()",
        "[0]",
        " in a",
        "==a",
        "[1:]",
    ];
    for link in chains {
        assert_refused(link, format!("{{{{ a{} }}}}", link.repeat(100_000 / link.len())));
        // What is still read must not overflow the stack, whatever it means.
        let _ = render(format!("{{{{ a{} }}}}", link.repeat(300)));
    }
    for link in ["not ", "-", "1 if 0 else "] {
        assert_refused(link, format!("{{{{ {}1 }}}}", link.repeat(100_000 / link.len())));
        let _ = render(format!("{{{{ {}1 }}}}", link.repeat(240)));
    }
    assert_refused("elif", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(5_000)));
    render(format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(200))).expect("200 elif");
}

#[test]
fn endless_work_is_stopped() {
    for source in [
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for i in range(5000) %}x{% endfor %}",
        "{% for i in range(4000) %}{% for j in range(4000) %}{% endfor %}{% endfor %}",
        "{% for i in range(4000) %}{{ range(4000) | sort | length }}{% endfor %}",
        "{% set a = 'a' * 1000 %}{% set a = a * 1000 %}{% for i in range(4000) %}{% set x = a.count('b') %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{% for a in x %}{{ m([a]) }}{% endfor %}{% endmacro %}{{ m([1]) }}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{% set r = range(4000) | list %}{% for i in range(4000) %}{% set x = -1 in r %}{% endfor %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% macro m() %}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}",
        "{% for x in [1] recursive %}{{ loop([x, x]) }}{% endfor %}",
        "{% for x in [[1]] recursive %}{{ loop([[x, x], x]) }}{% endfor %}",
        "{% macro m(x) %}{% with y = [x, x] %}{{ m(y) }}{% endwith %}{% endmacro %}{{ m([]) }}",
        "{% set n = 100000000 %}{{ 'x' * n }}",
        "{% set n = 100000000 %}{{ ([1] * n) | length }}",
        "{% set n = 4000 %}{% for i in range(n) %}{% set x = [i] * n %}{{ ('x' * n * n) | length }}{% endfor %}",
        "{{ '%999s' | format('x') * 1000000 }}",
        "{{ '%99999999s' | format('x') }}",
        "{{ '%*s' | format(99999999, 'x') }}",
        "{{ [1] | slice(1000000000) | list | length }}",
        "{{ [1] | batch(1000000000, 0) | list | length }}",
        "{% set r = range(4000) | list %}{% for i in r %}{% set x = r | groupby('a') %}{% endfor %}",
        "{% set r = range(4000) | list %}{% for i in r %}{% set x = r | batch(1) %}{% endfor %}",
        "{{ 2 ** 100000000000 }}",
    ] {
        assert_refused(source, source);
    }
}

#[test]
fn endless_output_and_memory_are_stopped() {
    let doubled = "{% set ns = namespace(a='aaaaaaaa') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}";
    let million = "{% set a = 'a' * 1000 %}{% set a = a * 1000 %}";
    for source in [
        doubled.to_owned(),
        format!("{million}{{% for i in range(1000) %}}{{{{ a }}}}{{% endfor %}}"),
        format!("{million}{{{{ a.replace('a', a) }}}}"),
        format!("{million}{{{{ a.replace('', a) }}}}"),
        format!("{million}{{{{ a | replace('a', a) }}}}"),
        format!("{million}{{{{ a.join(range(4000)) }}}}"),
        format!("{million}{{{{ range(4000) | join(a) }}}}"),
        format!("{million}{{{{ a.split('a') | length }}}}{{{{ a.split('a') | length }}}}"),
        format!("{million}{{{{ a | list | length }}}}{{{{ a | list | length }}}}"),
        "{{ 'a' * 1000000000 }}".to_owned(),
        "{{ '{:>2000000000}'.format(1) }}".to_owned(),
        "{{ '{:{}}'.format(1, 2000000000) }}".to_owned(),
        "{{ '%2000000000d' | format(1) }}".to_owned(),
        "{{ 'a\n' | indent(2000000000) }}".to_owned(),
        "{{ [1] | tojson(indent=2000000000) }}".to_owned(),
        "{{ [1] | batch(2000000000, 0) | list }}".to_owned(),
        "{{ [1] | slice(2000000000, 0) | list }}".to_owned(),
        "{% set ns = namespace(a=[1]) %}{% for i in range(60) %}{% set ns.a = ns.a + ns.a %}{% endfor %}"
            .to_owned(),
    ] {
        assert_refused(&source, source.clone());
    }
}

/// Values that hold themselves many times over take exponential time to print or compare; deep ones overflow the stack.
#[test]
fn values_cannot_nest_without_end() {
    let grow = "{% set x = [x, x] %}".repeat(60);
    let grown = format!("{{% set x = [1] %}}{grow}");
    let looped = |body: &str| {
        format!(
            "{{% set ns = namespace(a=[], b=[]) %}}{{% for i in range(9000) %}}{body}{{% endfor %}}{{{{ ns.a }}}}"
        )
    };
    for source in [
        format!("{grown}{{{{ x }}}}"),
        format!("{grown}{{{{ x == x[0] }}}}"),
        looped("{% set ns.a = [ns.a] %}"),
        looped("{% set ns.a = {'a': ns.a} %}"),
        looped("{% set ns.a = (ns.a, ns.a) %}"),
        looped("{% set ns.a, ns.b = [ns.b], [ns.a] %}"),
        looped("{% set ns.a = ns %}"),
        looped("{% set ns.a = [ns] %}"),
        looped("{% set ns.a = dict(x=ns.a) %}"),
        looped("{% set ns.a = namespace(x=ns.a) %}"),
        "{% macro m(x, n) %}{% if n %}{{ m([x, x], n - 1) }}{% else %}{{ x }}{% endif %}{% endmacro %}{{ m(1, 60) }}"
            .to_owned(),
        "{% for a in [[1]] %}".to_owned()
            + &"{% for a in [[a, a]] %}".repeat(60)
            + "{{ a }}"
            + &"{% endfor %}".repeat(61),
        "{% set x = [1] %}".to_owned() + &"{% with x = [x, x] %}".repeat(60) + "{{ x }}" + &"{% endwith %}".repeat(60),
        "{% set x = [1] %}".to_owned()
            + &"{% with y = 1, x = [x, x] %}".repeat(60)
            + "{{ x }}"
            + &"{% endwith %}".repeat(60),
        "{% macro m(x, n) %}{{ caller([x, x], n - 1) }}{% endmacro %}{% macro r(x, n) %}{% call(y, k) m(x, n) %}\
         {% if k %}{{ r(y, k) }}{% else %}{{ y }}{% endif %}{% endcall %}{% endmacro %}{{ r([1], 60) }}"
            .to_owned(),
        "{% for x in [[1]] recursive %}{% if loop.depth < 60 %}{{ loop([[x, x]]) }}{% else %}{{ x }}{% endif %}{% endfor %}"
            .to_owned(),
        "{% set _siskin_bounded = 1 %}".to_owned(),
        "{% macro _siskin_bounded(x) %}{% endmacro %}".to_owned(),
        "{{ [[1] * 1000 * 1000] | length }}".to_owned(),
        "{% set n = 1000000 %}{{ [1] * n }}".to_owned(),
        "{{ [1] * 1000000|default(9) }}".to_owned(),
        "{{ 'aaa' * 100000000 }}".to_owned(),
        "{{ 10 ** 6 * [1] }}".to_owned(),
        "{{ 1000000 // 1 * [1] }}".to_owned(),
        format!("{{% raw %}}{{%\u{a0}endraw %}}{{{{ \"{{% endraw %}}{grown}{{{{ x }}}}"),
    ] {
        assert_refused(&source, source.clone());
    }
}

#[test]
fn unfinished_tags_are_errors() {
    let text = "{% set x = {'a': [1, \"}}\"]} %}{{ x['a'] | tojson }}{# c #}{% raw %}{{{% endraw %}{% if x %}y{% endif %}";
    assert!(render(text).is_ok());
    for end in 0..text.len() {
        // Any prefix is either a template or an error, never a panic.
        let _ = render(&text[..end]);
    }
    for source in [
        "{{",
        "{%",
        "{{ 'a",
        "{% raw %}",
        "{{ (}}",
        "{%-",
        "{%-%}",
        "{%+-%}",
        "{% for %}",
        "{% set = %}",
        "{{ é",
    ] {
        assert_refused(source, source);
    }
}

#[test]
fn long_sources_are_refused() {
    let error = ChatTemplate::new(&"a".repeat(1 << 20), None, None).expect_err("too long").to_string();
    assert_eq!(error, "chat template has 1048576 bytes, expected at most 262144");
}

#[test]
fn long_conversations_are_not_hostile() {
    let messages: Vec<Message> = (0..5_000)
        .map(|i| Message::new(if i % 2 == 0 { "user" } else { "assistant" }, "word ".repeat(100)))
        .collect();
    let template = ChatTemplate::new(CHATML, None, None).expect("ChatML");
    let text = template.render(&messages, true).expect("a long prompt");
    assert_eq!(text.matches("<|im_start|>").count(), 5_001);
    let huge = [Message::new("user", "x".repeat(MAX_OUTPUT + 1))];
    let error = template.render(&huge, true).expect_err("too long").to_string();
    assert_eq!(error, format!("chat template output exceeds {MAX_OUTPUT} bytes"));
}
