//! What a conversation brings never becomes a control token, whatever a template does with it; and templates see it as it
//! was given.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use siskin::gguf::Gguf;
use siskin::template::{ChatTemplate, Json, Message, Rendered, Rendering};
use siskin::tokenizer::{Special, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// Golden vocabularies, each with the text of one of its control tokens.
fn vocabularies() -> &'static [(Tokenizer, String)] {
    static OPENED: OnceLock<Vec<(Tokenizer, String)>> = OnceLock::new();
    OPENED.get_or_init(open_vocabularies)
}

fn open_vocabularies() -> Vec<(Tokenizer, String)> {
    let open = |(name, control): (&str, &str)| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/tokenizer/{name}.gguf"));
        let tokenizer = Tokenizer::from_gguf(&Gguf::read(&path).unwrap()).unwrap();
        assert!(tokenizer.is_special(tokenizer.find(control.as_bytes()).unwrap()), "{name}: {control}");
        (tokenizer, control.to_owned())
    };
    [
        ("spm", "</s>"),
        ("spm-no-prefix", "</s>"),
        ("spm-single-spaces", "</s>"),
        ("spm-unknown", "</s>"),
        ("qwen2", "<|im_end|>"),
        ("llama-bpe", "<|im_end|>"),
        ("demo", "<|im_end|>"),
    ]
    .map(open)
    .into()
}

fn traced(template: &str, content: &str) -> Rendered {
    let compiled = ChatTemplate::new(template, Some("<s>"), Some("</s>")).expect(template);
    let arguments: Json = Json::Object(vec![(content.to_owned(), Json::from(vec![Json::from(content)]))]);
    let message = Message::new("user", content).with("name", content).with("arguments", arguments);
    let rendering = Rendering::default()
        .tools(vec![Json::from(content)])
        .variables(vec![("variable".to_owned(), Json::from(content))])
        .seconds(0);
    compiled.render_traced(&[message], &rendering).expect(template)
}

fn tokens(tokenizer: &Tokenizer, rendered: &Rendered) -> Vec<u32> {
    let mut tokens = Vec::new();
    tokenizer.encode_rendered(rendered, &mut tokens);
    tokens
}

/// What templates do with texts. Each takes `c`.
const USES: [&str; 65] = [
    "{{ c }}",
    "{{ c.replace('#', '') }}",
    "{{ c | replace('#', '') }}",
    "{{ c.split('#') | join('') }}",
    "{{ c | split('#') | join }}",
    "{{ ''.join(c.split('#')) }}",
    "{{ c.rsplit('#', 1) | join('<') }}",
    "{{ c.split() | join(' ') }}",
    "{{ c.splitlines() | join(' ') }}{{ c.splitlines(true) | join('') }}{{ c | lines | join('') }}",
    "{% for x in c %}{{ x }}{% endfor %}",
    "{% for x in c if x != '#' %}{{ x }}{% endfor %}",
    "{% for x in c | list %}{% if not x == '#' %}{{ x }}{% endif %}{% endfor %}",
    "{{ c[1:] }}{{ c[:-1] }}{{ c[::2] }}{{ c[::-1] }}{{ c[::-1][::-1] }}",
    "{{ c[0] }}{{ c | first }}{{ c | last }}",
    "{{ c | reverse }}",
    "{{ c | upper }}{{ c.upper() }}",
    "{{ c | lower }}{{ c.lower() }}{{ c.lower().upper() }}",
    "{{ c | title }}{{ c.title() }}{{ c | capitalize }}{{ c.capitalize() }}{{ c.swapcase() }}",
    "{{ c | trim }}{{ c.strip() }}{{ c.lstrip() }}{{ c.rstrip() }}",
    "{{ c | trim('#<') }}{{ c.strip('#') }}{{ c.lstrip('<|#') }}{{ c.rstrip('|>#') }}",
    "{{ c + c }}{{ c ~ c }}{{ c * 2 }}",
    "{{ '<' + c + '>' }}{{ '<|' ~ c ~ '|>' }}{{ '</' ~ c ~ '>' }}",
    "{{ '{}'.format(c) }}{{ '{0:<12}|'.format(c) }}",
    "{{ c | tojson }}{{ c | tojson(ensure_ascii=true) }}{{ [c] | tojson(indent=1) }}",
    "{{ {'a': c} | tojson }}{{ {c: 1} | tojson(sort_keys=true) }}",
    "{{ [c] }}{{ (c,) }}{{ {'a': c} }}{{ [[c]] | string }}{{ {c: c} }}",
    "{{ c | indent }}{{ c | indent(2, true) }}{{ c | indent('>') }}{{ 'a\nb' | indent(c) }}",
    "{{ c | escape }}{{ c | e }}{{ c | safe }}{{ c | string }}",
    "{{ c.partition('#') | join }}{{ c.rpartition('#')[2] }}",
    "{{ c.removeprefix('<') }}{{ c.removesuffix('>') }}",
    "{{ c == 'a' }}{{ c != 'a' }}{{ c < 'a' }}{{ c <= 'a' }}{{ c > 'a' }}{{ c >= 'a' }}{{ 'A' < c < 'z' }}",
    "{{ '#' in c }}{{ '#' not in c }}{{ c in 'abc#' }}{{ c in ['a', '#'] }}{{ c in {'a': 1} }}",
    "{{ c is eq 'a' }}{{ c is ne 'a' }}{{ c is in ['a', '#'] }}{{ c is startingwith 'a' }}{{ c is endingwith '#' }}",
    "{{ c is string }}{{ c is iterable }}{{ c is lower }}{{ c is upper }}{{ c is lt 'b' }}{{ c is ge 'b' }}",
    "{{ c.startswith('a') }}{{ c.endswith('#') }}{{ c.startswith(('#', '<')) }}{{ c.count('#') }}",
    "{{ c.find('#') }}{{ c.rfind('#') }}{{ c.isdigit() }}{{ c.isalpha() }}{{ c.isspace() }}{{ c.isalnum() }}{{ c.isascii() }}",
    "{{ c.isupper() }}{{ c.islower() }}{{ c.isnumeric() }}{{ c | int }}{{ c | float }}{{ c | bool }}",
    "{{ [c, 'B', 'a', c] | sort | join(' ') }}{{ ['B', c, 'a'] | sort(reverse=true, case_sensitive=true) | join(' ') }}",
    "{{ [c, 'a', c | upper] | unique | join(' ') }}{{ [c, 'a'] | min }}{{ [c, 'a'] | max }}",
    "{{ {'b': c, 'a': 1} | dictsort }}{{ {'b': c, 'a': 'a'} | dictsort(by='value') }}",
    "{{ {'a': 1, '#': 2}[c] }}{{ {'a': 1}.get(c, 'none') }}{{ {'x': {'a': 3}}['x'][c] }}{{ ['a', c].count('a') }}",
    "{{ [{'n': c}] | selectattr('n', 'equalto', 'a') | list | length }}{{ ['a', c] | select('in', ['a']) | list | length }}",
    "{{ [{'n': c}] | map(attribute='n') | join }}{{ [c] | map('upper') | join }}{{ [c] | reject('eq', 'a') | join }}",
    "{% set ns = namespace(t='') %}{% for x in c.split('#') %}{% set ns.t = ns.t + x %}{% endfor %}{{ ns.t }}",
    "{% set b %}<{{ c }}>{% endset %}{{ b }}{{ b | replace('#', '') }}",
    "{% filter upper %}{{ c }}{% endfilter %}{% filter replace('#', '') %}<{{ c }}>{% endfilter %}",
    "{% macro m(x, y='#') %}{{ x | replace(y, '') }}{% endmacro %}{{ m(c) }}{{ m(c, y='|') | trim }}",
    "{{ c if c == 'a' else c ~ '!' }}{{ c or 'b' }}{{ c and 'b' }}{{ c | default('d', true) }}",
    "{{ dict(a=c).a }}{{ dict({'k': c}, z=1) | tojson }}{{ dict({c: 1})['a'] }}",
    "{% for k, v in {'a': c}.items() %}{{ k ~ v }}{% endfor %}{% for k in {c: 1} %}{{ k }}{% endfor %}",
    "{{ c | replace('', '-') }}{{ c | replace('a', '<') | replace('#', '|') }}",
    "{{ c.replace('#', c) }}{{ c.split('#')[-1] }}{{ c.split('#')[0].split('|')[-1] }}",
    "{{ [c, 'a'] == ['a', 'a'] }}{{ {'a': c} == {'a': 'a'} }}{{ (c, 1) == ('a', 1) }}",
    "{{ [c] + ['x'] }}{{ ([c] * 2) | join }}{{ [c] | last }}{{ [c, c] | join(c) }}",
    "{{ {c: 'b'} | attr(c) }}{{ 'x' | replace('x', c) }}{{ c | list | length }}",
    "{{ strftime_now(c | replace('%', '')) }}",
    "{{ c | replace('#', '', count=1) }}{{ c.split('#', maxsplit=1) | join }}{{ c | trim(chars='#') }}",
    "{{ c.splitlines(keepends=true) | join }}{{ c.split(sep='#')[0] }}{{ c.rsplit(maxsplit=1) | join }}",
    "{{ [c] | join('<|im_') ~ 'end|>' }}",
    "{{ '%s|%-12s|%12s|%.3s|%r' | format(c, c, c, c, c) }}{{ '%d%%' | format(7) ~ c }}",
    "{% for r in c | batch(3, c) %}{{ r | join }}{% endfor %}{% for r in [c, 'a', c] | slice(2, '#') %}{{ r | join }}{% endfor %}",
    "{% for g in [{'n': c}, {'n': 'a'}] | groupby('n') %}{{ g.grouper }}{{ g[1] | length }}{% endfor %}{{ [{'n': c}] | groupby('n') }}",
    "{% macro m(x) %}<{{ caller(x) }}{% endmacro %}{% call(y) m(c) %}{{ y | replace('#', '') }}{% endcall %}\
     {% with d = c, e = c ~ '>' %}{{ d }}{{ e }}{% endwith %}",
    "{% for x in [c, [c]] recursive %}{% if x is string %}{{ x }}{% else %}{{ loop(x) }}{% endif %}{% endfor %}\
     {% set n = 2 %}{{ c * n }}{{ n * c }}{{ ([c] * n) | join }}",
    "{% for x in [c, c.split('#')] %}{% if x is string %}{{ loop.index }}{{ x }}{% else %}{{ x | join }}{% endif %}{% endfor %}",
];

/// Where a message's text is found.
const PLACES: [&str; 6] = [
    "messages[0].content",
    "messages[0]['name']",
    "(messages[0].arguments | list)[0]",
    "messages[0].arguments.values() | first | first",
    "tools[0]",
    "variable",
];

fn on(place: &str, usage: &str) -> String {
    format!("{{% set c = {place} %}}{usage}")
}

/// Texts that spell control tokens, in one piece and in parts.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("<|im_end|>"),
        Just("<|im"),
        Just("_end|>"),
        Just("</s>"),
        Just("</"),
        Just("s>"),
        Just("<|eot_id|>"),
        Just(">|dne_mi|<"),
        Just("<|IM_END|>"),
        Just("im_end"),
        Just("#"),
        Just("##"),
        Just("a"),
        Just("7"),
        Just(" "),
        Just("  "),
        Just("\n"),
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("é"),
        Just("e\u{301}"),
        Just("漢"),
        Just("😀"),
        Just("Σ"),
        Just("\u{D003C}/s>"),
        Just("\u{DFFFF}"),
        Just("\u{FDD0}"),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// Asserts that there are the control tokens that the template spelled, and no more.
fn check_tokens(template: &str, content: &str) {
    let rendered = traced(template, content);
    for (tokenizer, _) in vocabularies() {
        let found = tokens(tokenizer, &rendered);
        // What the template spelled, between two texts that were given.
        let mut spelled = Vec::new();
        for (stretch, given) in rendered.stretches() {
            if !given {
                tokenizer.encode(stretch.as_bytes(), Special::Parse, &mut spelled);
            }
        }
        let controls =
            |ids: &[u32]| ids.iter().copied().filter(|&id| tokenizer.is_special(id)).collect::<Vec<_>>();
        // What a vocabulary cannot spell is its unknown token, which stands for text.
        let unknown =
            |ids: Vec<u32>| ids.into_iter().filter(|&id| Some(id) != tokenizer.unk()).collect::<Vec<_>>();
        assert_eq!(unknown(controls(&found)), unknown(controls(&spelled)), "{template}: {content:?}");
    }
}

#[test]
fn a_message_that_spells_a_control_token_is_text() {
    for (tokenizer, control) in vocabularies() {
        for content in [format!("a{control}b"), control.clone(), format!("a {control} b{control}")] {
            let mut plain = Vec::new();
            tokenizer.encode(content.as_bytes(), Special::Text, &mut plain);
            assert_eq!(tokens(tokenizer, &traced("{{ messages[0].content }}", &content)), plain, "{content}");
        }
    }
}

#[test]
fn a_templates_own_control_tokens_count_beside_given_text() {
    for (tokenizer, control) in vocabularies() {
        let id = tokenizer.find(control.as_bytes()).unwrap();
        let (half, rest) = control.split_at(2);
        for template in [
            format!("{{{{ messages[0].content }}}}{control}"),
            format!("{control}{{{{ messages[0].content }}}}"),
            format!("{{{{ messages[0].content ~ '{half}' ~ '{rest}' }}}}"),
            format!("{{{{ '{control}'.replace(messages[0].content, '') }}}}"),
            format!("{half}{{{{ '{rest}' }}}}"),
        ] {
            let found = tokens(tokenizer, &traced(&template, "hello"));
            assert_eq!(found.iter().filter(|&&token| token == id).count(), 1, "{template}");
        }
        // Neither half alone, nor one of each.
        for template in [
            format!("{half}{{{{ messages[0].content }}}}"),
            format!("{{{{ '{half}' ~ messages[0].content }}}}"),
        ] {
            let found = tokens(tokenizer, &traced(&template, rest));
            assert!(!found.contains(&id), "{template}");
        }
    }
}

#[test]
fn a_role_that_is_a_word_may_be_part_of_a_control_token() {
    let (tokenizer, control) = vocabularies().last().unwrap();
    let id = tokenizer.find(control.as_bytes()).unwrap();
    let template = ChatTemplate::new("{{ '<|' ~ messages[0].role ~ '|>' }}", None, None).unwrap();
    let count = |role: &str| {
        let rendered = template.render_traced(&[Message::new(role, "")], &Rendering::default()).unwrap();
        tokens(tokenizer, &rendered).iter().filter(|&&token| token == id).count()
    };
    assert_eq!(count("im_end"), 1);
    assert_eq!(count("a|><|im_end"), 0);
    assert_eq!(count("im_end|>"), 0);
}

#[test]
fn no_use_of_a_text_makes_it_a_control_token() {
    for usage in USES {
        for content in [
            "<|im#_end|>",
            "<|im_end|>",
            "<#/s#>",
            ">|dne_mi|<",
            "im_end",
            "s",
            "<|IM_END|>",
            "a",
            "1",
            "#",
            "",
        ] {
            for place in PLACES {
                check_tokens(&on(place, usage), content);
            }
        }
    }
}

#[test]
fn comparisons_of_published_templates_see_what_was_given() {
    let template = "{%- if '</think>' in c %}{% set r = c.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}\
        {%- set c = c.split('</think>')[-1].lstrip('\\n') %}{{ '[' ~ r ~ ']' }}{% endif %}{{ c }}";
    let rendered = traced(&on("messages[0].content", template), "<think>\nwhy\n</think>\n\nhello");
    assert_eq!(rendered.text(), "[why]hello");
    assert_eq!(
        rendered.stretches().filter(|(_, given)| *given).map(|(text, _)| text).collect::<Vec<_>>(),
        ["why", "hello"]
    );
}

/// A text in a template, with no character that its escapes do not name.
fn literal(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '\'' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        c => c.to_string(),
    });
    format!("'{}'", escaped.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn no_text_becomes_a_control_token(content in hostile(), usage in 0..USES.len(), place in 0..PLACES.len()) {
        check_tokens(&on(PLACES[place], USES[usage]), &content);
    }

    #[test]
    fn tokens_say_the_rendered_text(content in hostile(), usage in 0..USES.len(), place in 0..PLACES.len()) {
        let rendered = traced(&on(PLACES[place], USES[usage]), &content);
        for (tokenizer, _) in &vocabularies()[4..6] {
            let text_of = |&id: &u32| {
                let text = if tokenizer.is_special(id) { tokenizer.text(id) } else { tokenizer.piece(id) };
                text.to_vec()
            };
            let spelled: Vec<u8> = tokens(tokenizer, &rendered).iter().flat_map(text_of).collect();
            // Some vocabularies ask for texts in normalization form C.
            let composed = |text: &str| text.nfc().collect::<String>();
            prop_assert_eq!(composed(&String::from_utf8_lossy(&spelled)), composed(rendered.text()));
        }
    }

    /// One SentencePiece vocabulary puts spaces before text, also behind tokens that are cut out; the other puts none.
    #[test]
    fn pieces_say_the_rendered_text(content in hostile(), usage in 0..USES.len(), place in 0..PLACES.len()) {
        let rendered = traced(&on(PLACES[place], USES[usage]), &content);
        let said = |tokenizer: &Tokenizer| {
            let pieces = tokens(tokenizer, &rendered).into_iter().flat_map(|id| tokenizer.piece(id).to_vec());
            String::from_utf8_lossy(&pieces.collect::<Vec<_>>()).into_owned()
        };
        let [(with_spaces, _), (without, _), ..] = vocabularies() else { unreachable!("two vocabularies") };
        let bare = |text: &str| text.replace(' ', "");
        prop_assert_eq!(bare(&said(with_spaces)), bare(rendered.text()));
        prop_assert_eq!(said(without), rendered.text());
    }

    /// The same as if the template had spelled the text itself.
    #[test]
    fn templates_see_texts_as_they_were_given(content in hostile(), usage in 0..USES.len(), place in 0..PLACES.len()) {
        prop_assume!(!content.contains(['\u{D003C}', '\u{DFFFF}']));
        let given = traced(&on(PLACES[place], USES[usage]), &content);
        let spelled = traced(&on(&literal(&content), USES[usage]), "");
        prop_assert_eq!(given.text(), spelled.text());
        let beyond = |text: &str| text.chars().all(|c| u32::from(c) > 0xFFFF);
        let all_within = content.chars().all(|c| u32::from(c) <= 0xFFFF);
        prop_assert!(!all_within || spelled.stretches().all(|(text, given)| !given || beyond(text)));
    }
}
