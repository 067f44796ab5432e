use serde_json::{Value as Json, json};

use super::*;

/// A token of a pipeline, as the variable `assertion`.
fn claims() -> Json {
    json!({
        "sub": "repo:octo/app:ref:refs/heads/main",
        "repository": "octo/app",
        "aud": ["https://a.test", "https://b.test"],
        "groups": ["eng", "ops"],
        "arn": "arn:aws:sts::123:assumed-role/deployer/session",
        "run": "17",
        "iat": 1_700_000_000,
        "share": 0.5,
        "verified": true,
        "nothing": null,
        "kubernetes.io": { "namespace": "prod", "serviceaccount": { "name": "web" } },
    })
}

fn evaluate(source: &str) -> Result<Json, EvaluationError> {
    let expression = Expression::compile(source, &["assertion"]).unwrap_or_else(|error| panic!("{source}: {error}"));
    expression.evaluate(&[("assertion", &claims())])
}

fn refused(source: &str) -> String {
    match Expression::compile(source, &["assertion"]) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn mappings_of_workloads_give_what_google_s_give() {
    #[rustfmt::skip]
    let cases = [
        ("assertion.sub",                                               json!("repo:octo/app:ref:refs/heads/main")),
        ("assertion['sub']",                                            json!("repo:octo/app:ref:refs/heads/main")),
        ("assertion.sub.split(':')[1]",                                 json!("octo/app")),
        ("assertion.sub.split(':', 2)[1]",                              json!("octo/app:ref:refs/heads/main")),
        ("assertion.repository.split('/')[0] + '@' + assertion.run",    json!("octo@17")),
        ("assertion['kubernetes.io']['namespace']",                     json!("prod")),
        ("assertion['kubernetes.io'].serviceaccount.name",              json!("web")),
        ("assertion.groups",                                            json!(["eng", "ops"])),
        ("assertion.groups.join('|')",                                  json!("eng|ops")),
        ("assertion.groups.join()",                                     json!("engops")),
        ("assertion.groups.map(g, g.upperAscii())",                     json!(["ENG", "OPS"])),
        ("assertion.groups.filter(g, g != 'eng')",                      json!(["ops"])),
        ("assertion.groups.map(g, g != 'eng', g + '!')",                json!(["ops!"])),
        ("assertion.groups.exists(g, g.startsWith('o'))",               json!(true)),
        ("assertion.groups.exists_one(g, g.startsWith('o'))",           json!(true)),
        ("assertion.groups.all(g, size(g) == 3)",                       json!(true)),
        ("'ops' in assertion.groups",                                   json!(true)),
        ("'sub' in assertion",                                          json!(true)),
        ("has(assertion.missing)",                                      json!(false)),
        ("has(assertion.sub) ? 'yes' : 'no'",                           json!("yes")),
        ("assertion.sub.startsWith('repo:octo/')",                      json!(true)),
        ("assertion.sub.endsWith('/main')",                             json!(true)),
        ("assertion.sub.contains('octo')",                              json!(true)),
        (r"assertion.sub.matches('^repo:octo/\\w+:ref:refs/heads/(main|rel-\\d+)$')", json!(true)),
        ("matches(assertion.run, '^[0-9]+$')",                          json!(true)),
        ("assertion.sub.matches('^' + assertion.run)",                  json!(false)),
        ("int(assertion.run) + 1",                                      json!(18)),
        ("string(assertion.iat)",                                       json!("1700000000")),
        ("assertion.iat > 1600000000",                                  json!(true)),
        ("double(assertion.iat) * assertion.share",                     json!(850_000_000.0)),
        ("uint(3) + 4u",                                                json!(7)),
        ("type(assertion.iat) == int",                                  json!(true)),
        ("dyn(assertion.verified) && bool('true')",                     json!(true)),
        ("assertion.nothing == null",                                   json!(true)),
        ("{'sub': assertion.sub.size(), 'groups': size(assertion.groups)}", json!({ "sub": 33, "groups": 2 })),
        ("bytes('ab')",                                                 json!("YWI=")),
        ("timestamp(assertion.iat).getFullYear('UTC')",                 json!(2023)),
        ("string(timestamp(assertion.iat) + duration('1h'))",           json!("2023-11-14T23:13:20Z")),
        ("' Ab '.trim().lowerAscii()",                                  json!("ab")),
        ("assertion.repository.replace('/', '-')",                      json!("octo-app")),
        ("assertion.repository.substring(5)",                           json!("app")),
        ("assertion.repository.substring(0, 4)",                        json!("octo")),
        ("assertion.repository.charAt(4)",                              json!("/")),
        ("'héé'.split('')",                                             json!(["h", "é", "é"])),
        ("''.split(',')",                                               json!([""])),
        ("'a,b'.split(',', 0)",                                         json!([])),
        ("[1, 2].map(x, [3, 4].map(y, x * y))",                         json!([[3, 4], [6, 8]])),
        // Google's own mapping for roles of another cloud.
        ("assertion.arn.contains('assumed-role') ? assertion.arn.extract('{account_arn}assumed-role/') + 'assumed-role/' \
          + assertion.arn.extract('assumed-role/{role_name}/') : assertion.arn",
                                                                        json!("arn:aws:sts::123:assumed-role/deployer")),
    ];
    for (source, expected) in cases {
        assert_eq!(evaluate(source), Ok(expected), "{source}");
    }
}

#[test]
fn extract_takes_what_stands_at_the_name_in_braces() {
    // The first four are Google's examples.
    #[rustfmt::skip]
    let cases = [
        ("projects/_/buckets/acme-orders-aaa/data_lake/orders/order_date=2019-11-03/aef87g87ae0876", "/order_date={date}/", Some("2019-11-03")),
        ("projects/_/buckets/acme-orders-aaa/data_lake/orders/order_date=2019-11-03/aef87g87ae0876", "buckets/{name}/", Some("acme-orders-aaa")),
        ("projects/_/buckets/acme-orders-aaa/data_lake/orders/order_date=2019-11-03/aef87g87ae0876", "/orders/{empty}order_date", Some("")),
        ("projects/_/buckets/acme-orders-aaa/data_lake/orders/order_date=2019-11-03/aef87g87ae0876", "{start}/data_lake", Some("projects/_/buckets/acme-orders-aaa")),
        ("projects/_/buckets/acme-orders-aaa/data_lake/orders/order_date=2019-11-03/aef87g87ae0876", "orders/{end}", Some("order_date=2019-11-03/aef87g87ae0876")),
        ("a/b/a/c",  "a/{x}/",       Some("b")),
        ("a/b",      "{all}",        Some("a/b")),
        ("a/b",      "z/{x}",        Some("")),
        ("a/b",      "a/{x}/",       Some("")),
        ("",         "{x}",          Some("")),
        ("a/b",      "a/",           None),
        ("a/b",      "a/{x",         None),
        ("a/b",      "a/{}",         None),
        ("a/b",      "{x}{y}",       None),
        ("a/b",      "}{x}",         None),
    ];
    for (text, template, expected) in cases {
        assert_eq!(functions::extracted(text, template), expected, "{text} {template}");
    }
}

#[test]
fn patterns_are_re2_s_and_know_ascii_only() {
    #[rustfmt::skip]
    let cases = [
        (r"^\d+$",          "12",       true),
        (r"^\d+$",          "١٢",       false),
        (r"^\w+$",          "é",        false),
        (r"^[\w.-]+$",      "a.b-c",    true),
        (r"^[^\d]+$",       "ab",       true),
        (r"^[^\d]+$",       "a1",       false),
        (r"^\W\S\D\s$",     "-xy ",     true),
        (r"\bb\b",          "a b c",    true),
        (r"^\\d$",          r"\d",      true),
        (r"^\.$",           "x",        false),
        (r"(?i)^ab$",       "AB",       true),
        (r"b",              "abc",      true),
    ];
    for (pattern, text, expected) in cases {
        let compiled = Pattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(compiled.is_match(text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_mistake_is_told_when_it_is_written_and_where() {
    let long = format!("'{}'", "a".repeat(BYTES_LIMIT));
    let wide = format!("[{}1]", "1,".repeat(2000));
    let wider = format!("1{}", "||1".repeat(1300));
    let parentheses = format!("{}1{}", "(".repeat(2000), ")".repeat(2000));
    let pattern = format!("'a'.matches('{}')", "a".repeat(600));
    #[rustfmt::skip]
    let cases = [
        ("",                                    "an expression is needed"),
        (" \n ",                                "an expression is needed"),
        (long.as_str(),                         "an expression may have 4096 bytes here"),
        (wide.as_str(),                         "accepted"),
        (wider.as_str(),                        "an expression may have 2048 parts (at column 3064)"),
        (parentheses.as_str(),                  "the expression is nested too deeply"),
        ("assertion.",                          "Syntax error: no viable alternative at input '.' (at column 11)"),
        ("'a",                                  "Syntax error: token recognition error at: ''a' (at column 1)"),
        ("true true",                           "Syntax error: extraneous input 'true' (at column 6)"),
        ("token.sub",                           "there is no variable token; there is assertion (at column 1)"),
        ("'é' == \n  attribute",                "there is no variable attribute; there is assertion (at line 2, column 3)"),
        (".assertion",                          "there is no variable .assertion; there is assertion (at column 2)"),
        ("@meter",                              "Syntax error: token recognition error at: '@' (at column 1)"),
        ("x.map(x, x)",                         "there is no variable x; there is assertion (at column 1)"),
        ("[1].map(x, x) == x",                  "there is no variable x; there is assertion (at column 18)"),
        ("[1].map(assertion, 1)",               "assertion is a variable already (at column 8)"),
        ("assertion.sub.startswith('a')",       "there is no function startswith (at column 25)"),
        ("startsWith(assertion.sub, 'a')",      "startsWith is called as x.startsWith() (at column 11)"),
        ("assertion.iat.int()",                 "int is called as int(x) (at column 18)"),
        ("assertion.sub.startsWith()",          "startsWith does not take 0 arguments (at column 25)"),
        ("size('a', 'b')",                      "size does not take 2 arguments (at column 5)"),
        ("timestamp('2026-01-01T00:00:00Z')",   "accepted"),
        ("optional.of(1)",                      "there is no function of (at column 12)"),
        ("cel.bind(x, 1, x)",                   "there is no function bind (at column 9)"),
        ("assertion.?sub",                      "unsupported syntax '.?' (at column 10)"),
        ("[?assertion]",                        "unsupported syntax '?' (at column 2)"),
        ("assertion.`a-b`",                     "unsupported syntax: '`' (at column 10)"),
        ("Thing{a: 1}",                         "messages are not part of this language (at column 6)"),
        ("has(assertion)",                      "invalid argument to has() macro (at column 5)"),
        ("[1].all(1, true)",                    "argument must be a simple name (at column 9)"),
        ("[1].all(x, [1].all(y, [1].all(z, true)))",
                                                "only 2 of all, exists, map and filter may be nested (at column 30)"),
        ("'a'.matches('(a')",                   "a pattern is not valid: unclosed group (at column 12)"),
        ("'a'.matches('((a{99}){99}){99}')",    "a pattern is too large (at column 12)"),
        ("matches('a', '[')",                   "a pattern is not valid: unclosed character class (at column 8)"),
        (pattern.as_str(),                      "a pattern may have 512 bytes (at column 12)"),
    ];
    for (source, expected) in cases {
        assert_eq!(refused(source), expected, "{source:.60}");
    }
}

#[test]
fn an_evaluation_that_fails_names_the_expression_s_words_and_no_value() {
    #[rustfmt::skip]
    let cases = [
        ("assertion.missing",                   "there is no attribute missing"),
        ("assertion['missing']",                "there is no attribute missing"),
        ("assertion[assertion.sub]",            "there is no attribute of that name"),
        ("assertion.sub.missing",               ". cannot be applied to string"),
        ("assertion.sub + 1",                   "+ cannot be applied to string, int"),
        ("assertion.iat + 1.5",                 "+ cannot be applied to int, double"),
        ("assertion.sub < 1",                   "< cannot be applied to string, int"),
        ("-assertion.sub",                      "- cannot be applied to string"),
        ("!assertion.sub",                      "! cannot be applied to string"),
        ("assertion.sub && true",               "&& cannot be applied to string, bool"),
        ("assertion.sub ? 1 : 2",               "this cannot be applied to string"),
        ("'a' in assertion.sub",                "in cannot be applied to string, string"),
        ("assertion.iat.startsWith('a')",       "startsWith cannot be applied to int, string"),
        ("assertion.iat.matches('a')",          "matches cannot be applied to int, string"),
        ("[1].join(',')",                       "join cannot be applied to int"),
        ("assertion.sub.all(x, true)",          "this cannot be applied to string"),
        ("assertion.groups['eng']",             "[] cannot be applied to list, string"),
        ("assertion.groups[2]",                 "an index is out of range"),
        ("assertion.groups[-1]",                "an index is out of range"),
        ("assertion.sub.split('|')[1]",         "an index is out of range"),
        ("assertion.sub.substring(99)",         "an index is out of range"),
        ("assertion.sub.substring(0, 99)",      "an index is out of range"),
        ("assertion.sub.substring(2, 1)",       "an index is out of range"),
        ("assertion.sub.charAt(-1)",            "an index is out of range"),
        ("int(assertion.sub)",                  "int failed"),
        ("1 / 0",                               "a division by zero is out of range"),
        ("1 % 0",                               "a division by zero is out of range"),
        ("9223372036854775807 + 1",             "a number is out of range"),
        ("{'a': 1, 'a': 2}",                    "a map has the same key twice"),
        ("assertion.sub.extract('a')",          "extract failed"),
        ("assertion.sub.matches(assertion.sub + '(')", "matches failed"),
        ("type(1)",                             "the result cannot be type"),
        ("timestamp(0)",                        "the result cannot be timestamp"),
        ("timestamp(assertion.iat) + 1",        "+ cannot be applied to timestamp, int"),
        ("timestamp(assertion.iat) > assertion.sub", "> cannot be applied to timestamp, string"),
        ("timestamp(assertion.sub)",            "timestamp failed"),
        ("timestamp(0).getHours(assertion.sub)", "timezone failed"),
        ("{1: 2}",                              "the result cannot be map"),
        ("0.0 / 0.0",                           "the result cannot be double"),
    ];
    for (source, expected) in cases {
        let error = evaluate(source).map_err(|error| error.to_string());
        assert_eq!(error, Err(expected.to_owned()), "{source}");
    }
}

#[test]
fn an_error_that_decides_nothing_is_no_error() {
    let cases = [
        ("assertion.missing == 1 || true", Ok(json!(true))),
        ("assertion.missing == 1 && false", Ok(json!(false))),
        ("true || assertion.missing == 1", Ok(json!(true))),
        ("[1, 2].exists(x, x / (x - 1) == 2)", Ok(json!(true))),
        ("assertion.missing == 1 || false", Err(EvaluationError::NoAttribute(Some("missing".to_owned())))),
    ];
    for (source, expected) in cases {
        assert_eq!(evaluate(source), expected, "{source}");
    }
}

#[test]
fn only_variables_that_are_used_must_be_given() {
    let names = ["assertion", "google"];
    let expression = Expression::compile("google.subject == 'a'", &names).unwrap();
    assert_eq!(expression.evaluate(&[("google", &json!({ "subject": "a" }))]), Ok(json!(true)));
    assert_eq!(expression.evaluate(&[]), Err(EvaluationError::NoVariable("google".to_owned())));
}

#[test]
fn a_condition_must_be_a_bool_for_its_sample() {
    let sample = json!({ "sub": "a", "groups": ["b"], "count": 1 });
    #[rustfmt::skip]
    let cases = [
        ("assertion.sub == 'a'",                "accepted"),
        ("assertion.missing == 'a'",            "accepted"),
        ("assertion.groups[4] == 'a'",          "accepted"),
        ("int(assertion.sub) == 4",             "accepted"),
        ("false",                               "accepted"),
        ("assertion.sub",                       "the result is string, not bool"),
        ("assertion",                           "the result is map, not bool"),
        ("'true'",                              "the result is string, not bool"),
        ("1 + 'a'",                             "+ cannot be applied to int, string"),
        ("assertion.sub + 1 == 'a1'",           "+ cannot be applied to string, int"),
        ("assertion.count.startsWith('1')",     "startsWith cannot be applied to int, string"),
        ("assertion.sub.exists(s, s == 'a')",   "this cannot be applied to string"),
        (&bomb("x + x"),                        "the evaluation takes too much work"),
    ];
    for (source, expected) in cases {
        let compiled = SampledCondition::compile(source, &["assertion"], &[("assertion", &sample)]);
        assert_eq!(compiled.map_or_else(|error| error.to_string(), |_| "accepted".to_owned()), expected, "{source}");
    }
}

#[test]
fn a_condition_that_cannot_be_evaluated_does_not_hold() {
    let condition = SampledCondition::compile("assertion.sub", &["assertion"], &[("assertion", &json!({}))]).unwrap();
    let holds = |claims: &Json| condition.holds(&[("assertion", claims)]);
    assert_eq!(holds(&json!({ "sub": true })), Ok(true));
    assert_eq!(holds(&json!({ "sub": false })), Ok(false));
    assert_eq!(holds(&json!({ "sub": "true" })), Err(EvaluationError::NotBool("string".to_owned())));
    assert_eq!(holds(&json!({})), Err(EvaluationError::NoAttribute(Some("sub".to_owned()))));
    assert_eq!(
        holds(&json!(null)).map_err(|error| error.to_string()),
        Err(". cannot be applied to null_type".to_owned())
    );
}

/// Takes this step fifty times, each with what the one before gave.
fn bomb(step: &str) -> String {
    format!("['aaaaaaaa']{} == []", format!(".map(x,{step})").repeat(50))
}

#[test]
fn work_is_bounded_whatever_is_evaluated() {
    use EvaluationError as E;
    let thousand = json!({ "list": vec!["a".repeat(40); 1000], "text": "a".repeat(60_000), "short": "a".repeat(1000) });
    let longer = json!({ "list": vec![1; 1001] });
    let huge = json!({ "list": vec!["a".repeat(1000); 1000] });
    let (all, exists) = ("a.list.all(x, a.list.all(y, x == y))", "a.list.exists(x, a.list.exists(y, x != y))");
    #[rustfmt::skip]
    let cases = [
        (all.to_owned(),                                            &thousand,  Err(E::TooMuchWork)),
        (exists.to_owned(),                                         &thousand,  Err(E::TooMuchWork)),
        (format!("{all} || true"),                                  &thousand,  Err(E::TooMuchWork)),
        (format!("true || {all}"),                                  &thousand,  Ok(json!(true))),
        ("a.list.all(x, x.startsWith('a') && x in ['a', 'b'] || size(x) == 40)".to_owned(), &thousand, Ok(json!(true))),
        ("a.list.all(x, true)".to_owned(),                          &longer,    Err(E::RangeTooLarge)),
        ("a.list.all(x, true) || true".to_owned(),                  &longer,    Err(E::RangeTooLarge)),
        ("1 in a.list".to_owned(),                                  &longer,    Ok(json!(true))),
        ("'a' in a.list".to_owned(),                                &huge,      Err(E::InputTooLarge)),
        (bomb("x+x"),                                               &thousand,  Err(E::TooMuchWork)),
        (bomb("[x,x]"),                                             &thousand,  Err(E::TooMuchWork)),
        (bomb("{'a':x,'b':x}"),                                     &thousand,  Err(E::TooMuchWork)),
        (bomb("x.replace('a','aa')"),                               &thousand,  Err(E::TooMuchWork)),
        ("a.text.replace('', a.text)".to_owned(),                   &thousand,  Err(E::TooMuchWork)),
        ("a.list.join(a.text)".to_owned(),                          &thousand,  Err(E::TooMuchWork)),
        ("a.text.split('')".to_owned(),                             &thousand,  Err(E::TooMuchWork)),
        ("a.text".to_owned(),                                       &thousand,  Ok(thousand["text"].clone())),
        ("a.text + a.text".to_owned(),                              &thousand,  Err(E::ResultTooLarge)),
        ("a.text.matches('(a+)+$')".to_owned(),                     &thousand,  Ok(json!(true))),
        ("(a.text + 'b').matches('^(a+)+$')".to_owned(),            &thousand,  Ok(json!(false))),
        ("(a.short + 'b').matches('^(a|a|a|a)*c$')".to_owned(),     &thousand,  Ok(json!(false))),
        ("a.list.all(x, (a.text + x).matches('(a+)+$'))".to_owned(), &thousand, Err(E::TooMuchWork)),
        ("a.list.exists(x, 'b'.matches(x + '$'))".to_owned(),       &thousand,  Err(E::TooMuchWork)),
    ];
    for (source, value, expected) in cases {
        let expression = Expression::compile(&source, &["a"]).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(expression.evaluate(&[("a", value)]), expected, "{source:.80}");
    }
}

#[test]
fn only_what_does_little_runs_without_a_meter() {
    let many = |count: usize| format!("a in [{}'b']", "'c',".repeat(count));
    #[rustfmt::skip]
    let cases = [
        ("a == 'b'".to_owned(),                                         true),
        ("a.startsWith('b') && !a.endsWith('c') || a in ['d']".to_owned(), true),
        ("a < timestamp('2026-01-01T00:00:00Z') || a.getHours('UTC') > 1".to_owned(), true),
        ("inIpRange(a, '10.0.0.0/8') ? a.contains('b') : false".to_owned(), true),
        (many(60),                                                      true),
        (many(61),                                                      false),
        ("a + a == 'b'".to_owned(),                                     false),
        ("a.replace('b', a) == 'b'".to_owned(),                         false),
        ("a.matches('b')".to_owned(),                                   false),
        ("a.split('b') == []".to_owned(),                               false),
        ("[a].exists(x, x == 'b')".to_owned(),                          false),
        ("a.b == 'b'".to_owned(),                                       false),
        ("{'b': a} == {}".to_owned(),                                   false),
        ("[[a], [a]] == [a == ['b' + a]]".to_owned(),                   false),
    ];
    for (source, expected) in cases {
        let checked = check::parse(&source, &["a"]).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(meter::small_parts(&checked.expression).is_some(), expected, "{source}");
    }
}

/// Runs where a worker's stack is: half of the smallest that is usual.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(work).unwrap();
    thread.join().unwrap();
}

#[test]
fn what_is_deep_is_refused_or_fits_the_stack() {
    let fill = |unit: &str| unit.repeat(BYTES_LIMIT / unit.len() - 1);
    let sources = [
        format!("{}1{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}1{}", "[".repeat(2000), "]".repeat(2000)),
        format!("{}true", fill("!")),
        format!("{}1", fill("-")),
        format!("a{}", fill("[0]")),
        format!("a{}", fill(".b")),
        format!("a{}", fill(".size()")),
        format!("1{}", fill("+1")),
        format!("1{}", fill("<1")),
        format!("a{}", fill("&&a")),
        format!("a{}", fill("||a")),
        format!("{}a", fill("a?a:")),
        format!("a{}", fill(".map(x,x)")),
        format!("a in [{}'b']", "'c',".repeat(1000)),
        fill("["),
        fill("{"),
        fill("a{b:"),
        fill("a.b[("),
        fill("'"),
        fill("$"),
        format!("a{}", fill("?")),
        // The deepest that are accepted.
        format!("{}1{}", "[".repeat(31), "]".repeat(31)),
        format!("1{}", "+1".repeat(62)),
        format!("[[1]]{}", ".map(x,x)".repeat(61)),
    ];
    on_a_small_stack(move || {
        for source in sources {
            if let Ok(expression) = Expression::compile(&source, &["a"]) {
                let _ = expression.evaluate(&[("a", &json!([1]))]);
            }
        }
    });
    assert!(Expression::compile(&format!("{}1{}", "[".repeat(31), "]".repeat(31)), &[]).is_ok());
    assert!(Expression::compile(&format!("1{}", "+1".repeat(62)), &[]).is_ok());
    assert!(Expression::compile(&"!".repeat(100_000), &[]).is_err());
}

/// How many expressions are tried.
const ROUNDS: usize = 2000;

/// A small generator with a fixed seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }
}

#[test]
fn bytes_and_tokens_by_chance_never_panic() {
    const TOKENS: [&str; 48] = [
        "a",
        "a.s",
        "a.l",
        "a.m",
        "a.n",
        "x",
        "y",
        "'b'",
        "\"\"",
        "b'c'",
        "1",
        "2u",
        "1.5",
        "-9223372036854775808",
        "true",
        "null",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "?",
        ".",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "&&",
        "||",
        "!",
        " in ",
        ".map(x,",
        ".all(y,",
        ".exists(x,",
        "size(",
        ".split('')",
        ".join()",
        ".matches(",
        "int(",
        "has(",
        "é😀\u{0}",
    ];
    let value = json!({ "s": "tëxt😀", "l": [1, "a", [2], null], "m": { "k": { "k": 1 }, "": 2.5 }, "n": i64::MIN });
    let mut dice = Dice(0x5eed_0004);
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let length = 1 + dice.roll(12);
        let source = if round % 4 == 0 {
            let bytes: Vec<u8> = (0..length * 4).map(|_| dice.roll(256) as u8).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        } else {
            (0..length).map(|_| TOKENS[dice.roll(TOKENS.len())]).collect()
        };
        if let Ok(expression) = Expression::compile(&source, &["a"]) {
            accepted += 1;
            let _ = expression.evaluate(&[("a", &value)]);
        }
    }
    assert!(accepted > ROUNDS / 60, "only {accepted} were expressions, so evaluation was not tried");
}

#[test]
fn expressions_by_chance_evaluate_without_panic() {
    let value = json!({ "s": "tëxt😀", "l": [1, "a", [2], null], "m": { "k": { "k": 1 }, "": 2.5 }, "n": i64::MIN });
    let mut dice = Dice(0x5eed_0005);
    let mut computed = 0;
    for _ in 0..ROUNDS {
        let depth = 1 + dice.roll(4);
        let source = written_by_chance(&mut dice, depth);
        let expression = match Expression::compile(&source, &["a"]) {
            Ok(expression) => expression,
            Err(error) => {
                assert!(error.message.contains("pattern") || error.message.contains("nested"), "{source}: {error}");
                continue;
            }
        };
        computed += usize::from(expression.evaluate(&[("a", &value)]).is_ok());
    }
    assert!(computed > ROUNDS / 20, "only {computed} gave a result");
}

fn written_by_chance(dice: &mut Dice, depth: usize) -> String {
    const LEAVES: [&str; 16] = [
        "a", "a.s", "a.l", "a.m", "a.n", "a.m.k", "'b'", "''", "b'\\xff'", "0", "-1", "2u", "1.5", "true", "null", "[]",
    ];
    const BINARY: [&str; 13] = ["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", " in ", "=="];
    const MEMBERS: [&str; 6] = ["contains", "startsWith", "endsWith", "matches", "split", "extract"];
    const GLOBALS: [&str; 8] = ["size", "int", "uint", "double", "string", "bytes", "bool", "type"];
    const MACROS: [&str; 5] = ["map", "filter", "all", "exists", "exists_one"];
    if depth == 0 {
        return LEAVES[dice.roll(LEAVES.len())].to_owned();
    }
    let mut inner = || written_by_chance(dice, depth - 1);
    let (one, two, three) = (inner(), inner(), inner());
    match dice.roll(12) {
        0..4 => format!("({one}){}({two})", BINARY[dice.roll(BINARY.len())]),
        4 => format!("({one}) ? ({two}) : ({three})"),
        5 => format!("({one}).{}({two})", MEMBERS[dice.roll(MEMBERS.len())]),
        6 => format!("{}({one})", GLOBALS[dice.roll(GLOBALS.len())]),
        7 => format!("({one}).{}(v, ({two}) == v)", MACROS[dice.roll(MACROS.len())]),
        8 => format!("({one})[{two}]"),
        9 => format!("[{one}, {two}]"),
        10 => format!("{{'k': {one}, {two}: {three}}}"),
        _ => one,
    }
}

mod typed {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Timestamp;
    use crate::policy::path::RequestPath;
    use crate::policy::request::{
        AuthenticationStrength, Destination, HttpRequest, RequestContext, ResourceAttributes,
    };
    use crate::resource::Host;

    /// A Monday in summer: 2026-07-06T05:30:00Z, which is 07:30 in Berlin.
    const MONDAY: Timestamp = Timestamp::from_seconds(1_783_315_800);

    struct World {
        host: Host,
        headers: BTreeMap<String, String>,
        claims: serde_json::Map<String, Json>,
        modified: Vec<String>,
    }

    impl World {
        fn new() -> World {
            let headers = [("user-agent", "curl/8"), ("origin", "https://a.test"), ("cookie", "secret")];
            let claims = json!({
                "email": "ann@example.com", "groups": ["eng"], "age": 7, "https://x.test/role": "dev",
                "device": { "encrypted": true, "os": "mac" },
            });
            World {
                host: Host::parse("Wiki.Example.com.:8443").unwrap(),
                headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                claims: claims.as_object().unwrap().clone(),
                modified: vec!["roles/a".to_owned(), "roles/b".to_owned()],
            }
        }

        fn at<'a>(&'a self, path: &'a str) -> RequestContext<'a> {
            let mut context = RequestContext::new(MONDAY);
            context.http = Some(HttpRequest {
                host: &self.host,
                path: RequestPath::new(path),
                method: "GET",
                headers: Some(&self.headers),
            });
            context.source_ip = Some("::ffff:10.1.2.3".parse().unwrap());
            context.destination = Some(Destination { ip: Some("10.9.9.9".parse().unwrap()), port: 22 });
            context.principal = Some(&"user:ann@example.com");
            context.claims = Some(&self.claims);
            context.strength = Some(AuthenticationStrength::TwoFactors);
            context.resource = Some(ResourceAttributes {
                name: "projects/1/iap_web/compute/services/7/versions/bs_0",
                kind: "iap.googleapis.com/WebServiceVersion",
                service: "iap.googleapis.com",
            });
            context.modified_grants_by_role = Some(&self.modified);
            context
        }
    }

    fn policy(source: &str) -> Result<Condition, CompileError> {
        Condition::compile(source, &Schema::policy(HeaderAllowList::default()))
    }

    fn holds(source: &str, context: &RequestContext<'_>) -> String {
        let condition = policy(source).unwrap_or_else(|error| panic!("{source}: {error}"));
        condition.holds(context).map_or_else(|error| error.to_string(), |holds| holds.to_string())
    }

    #[test]
    fn conditions_read_what_google_s_read_and_ours() {
        let world = World::new();
        let context = world.at("/admin/x");
        #[rustfmt::skip]
        let cases = [
            ("request.host == 'wiki.example.com'",                                          "true"),
            ("request.host.endsWith('example.com')",                                        "true"),
            ("request.path.startsWith('/admin')",                                           "true"),
            ("request.path.extract('/admin/{rest}') == 'x'",                                "true"),
            ("request.path.matches('^/[a-z]+/x$')",                                         "true"),
            ("request.path in ['/a', '/admin/x']",                                          "true"),
            ("request.method == 'GET'",                                                     "true"),
            ("request.time < timestamp('2026-07-06T05:30:01Z')",                            "true"),
            ("request.time >= timestamp('2026-07-06T07:30:00+02:00')",                      "true"),
            ("request.time.getHours('Europe/Berlin') == 7",                                 "true"),
            ("request.time.getHours() == 5 && request.time.getMinutes() == 30",             "true"),
            ("request.time.getHours('-04:00') == 1",                                        "true"),
            ("request.time.getDayOfWeek('America/New_York') == 1",                          "true"),
            ("request.time.getFullYear() == 2026 && request.time.getMonth() == 6",          "true"),
            ("request.time - timestamp('2026-07-06T00:00:00Z') < duration('6h')",           "true"),
            ("request.time + duration('1h') > request.time",                                "true"),
            ("request.headers['User-Agent'].startsWith('curl/')",                           "true"),
            ("request.headers.origin == 'https://a.test'",                                  "true"),
            ("request.headers['accept'] == ''",                                             "request.headers[\"accept\"] has no value here"),
            ("'accept' in request.headers || 'Origin' in request.headers",                  "true"),
            ("has(request.headers.accept)",                                                 "false"),
            ("request.auth.principal == 'user:ann@example.com'",                            "true"),
            ("request.auth.claims.email == 'ann@example.com'",                              "true"),
            ("request.auth.claims['https://x.test/role'] == 'dev'",                         "true"),
            ("request.auth.claims.device.os == 'mac'",                                      "true"),
            ("'eng' in request.auth.claims.groups",                                         "true"),
            ("has(request.auth.claims.email) && !has(request.auth.claims.phone)",           "true"),
            ("has(request.auth.claims.device.os)",                                          "true"),
            ("'email' in request.auth.claims && size(request.auth.claims) == 5",            "true"),
            ("request.auth.claims.phone == '1'",                                            "request.auth.claims[\"phone\"] has no value here"),
            ("request.auth.claims.age + 1 == 8",                                            "true"),
            ("request.auth.claims.age.startsWith('7')",                                     "startsWith cannot be applied to int, string"),
            ("request.auth.claims.email",                                                   "the result is string, not bool"),
            ("source.ip == '10.1.2.3'",                                                     "true"),
            ("inIpRange(source.ip, '10.0.0.0/8')",                                          "true"),
            ("inIpRange(source.ip, ['192.168.0.0/16', '10.1.2.3'])",                        "true"),
            ("inIpRange(source.ip, ['192.168.0.0/16', '2001:db8::/32'])",                   "false"),
            ("inIpRange(request.auth.claims.email, '10.0.0.0/8')",                          "inIpRange failed"),
            ("destination.ip == '10.9.9.9' && destination.port in [22, 2222]",              "true"),
            ("resource.type == 'iap.googleapis.com/WebServiceVersion'",                     "true"),
            ("resource.service == 'iap.googleapis.com'",                                    "true"),
            ("resource.name.extract('services/{id}/') == '7'",                              "true"),
            ("api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/b', 'roles/a', 'roles/c'])", "true"),
            ("api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/b'])", "false"),
            ("'L' in request.auth.access_levels",                                           "request.auth.access_levels has no value here"),
            ("['a', 'b'].exists(p, request.path.contains(p))",                              "true"),
            ("request.auth.claims.groups.all(g, g.startsWith('e'))",                        "true"),
            ("true || request.headers.accept == ''",                                        "true"),
        ];
        for (source, expected) in cases {
            assert_eq!(holds(source, &context), expected, "{source}");
        }
    }

    #[test]
    fn what_has_no_value_is_no_answer() {
        let bare = RequestContext::new(MONDAY);
        for source in [
            "request.host == ''",
            "request.path != '/x'",
            "request.method == ''",
            "request.headers['origin'] == ''",
            "request.auth.principal == ''",
            "request.auth.claims.email == ''",
            "size(request.auth.claims) == 0",
            "size(request.auth.access_levels) == 0",
            "source.ip == ''",
            "destination.ip == ''",
            "destination.port == 0",
            "resource.name == ''",
            "resource.type == ''",
            "resource.service == ''",
        ] {
            let condition = policy(source).unwrap();
            let [read] = condition.reads() else { panic!("{source}: {:?}", condition.reads()) };
            assert_eq!(holds(source, &bare), format!("{read} has no value here"), "{source}");
            assert_eq!(condition.may_hold(&bare), Err(EvaluationError::NoValue(read.to_string())), "{source}");
            assert_eq!(read.value(&bare), None, "{source}");
        }
        assert_eq!(holds("has(request.path)", &bare), "false");
        let roles = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', ['roles/x'])";
        assert_eq!(holds(&format!("{roles}.hasOnly([])"), &bare), "false");
        assert_eq!(holds(&format!("{roles} == ['roles/x']"), &bare), "true");
    }

    #[test]
    fn a_wrong_attribute_or_type_is_told_when_it_is_written_and_where() {
        #[rustfmt::skip]
        let cases = [
            ("request.hst == 'a'",                      "there is no attribute request.hst; there is request.auth.access_levels, request.auth.claims, request.auth.principal, request.headers['NAME'], request.host, request.method, request.path, request.time (at column 8)"),
            ("true &&\n  source.port == 1",             "there is no attribute source.port; there is source.ip (at line 2, column 9)"),
            ("request",                                 "request has no value of its own; there is request.auth.access_levels, request.auth.claims, request.auth.principal, request.headers['NAME'], request.host, request.method, request.path, request.time (at column 1)"),
            ("request.auth == 'a'",                     "request.auth has no value of its own; there is request.auth.access_levels, request.auth.claims, request.auth.principal (at column 8)"),
            ("request.auth.strength > 1",               "there is no attribute request.auth.strength; there is request.auth.access_levels, request.auth.claims, request.auth.principal (at column 13)"),
            ("client.ip == 'a'",                        "there is no variable client; there is api, destination, request, resource, source (at column 1)"),
            ("request.host.name == 'a'",                "there is no attribute name in string (at column 13)"),
            ("request.headers['cookie'] == 'a'",        "the header cookie may not be read; there is accept, content-type, origin, referer, user-agent, x-requested-with (at column 16)"),
            ("request.headers[request.host] == 'a'",    "a header is read by its name, as in request.headers['origin'] (at column 8)"),
            ("size(request.headers) == 1",              "a header is read by its name, as in request.headers['origin'] (at column 13)"),
            ("request.host",                            "the result is string, not bool"),
            ("request.path + '/x'",                     "the result is string, not bool"),
            ("request.host == 1",                       "== cannot be applied to string, int (at column 14)"),
            ("destination.port == '22'",                "== cannot be applied to int, string (at column 18)"),
            ("request.time > '2026-01-01T00:00:00Z'",   "> cannot be applied to timestamp, string (at column 14)"),
            ("request.time + 5 > request.time",         "+ cannot be applied to timestamp, int (at column 14)"),
            ("request.time.getHours() == '7'",          "== cannot be applied to int, string (at column 25)"),
            ("request.time.startsWith('2')",            "startsWith cannot be applied to timestamp, string (at column 24)"),
            ("request.path.startsWith(1)",              "startsWith cannot be applied to string, int (at column 24)"),
            ("request.path in 'abc'",                   "in cannot be applied to string, string (at column 14)"),
            ("1 in request.auth.access_levels",         "in cannot be applied to int, list (at column 3)"),
            ("request.host in ['a', 'b'] == 'a'",       "== cannot be applied to bool, string (at column 28)"),
            ("request.host && true",                    "&& cannot be applied to string, bool (at column 14)"),
            ("!request.host",                           "! cannot be applied to string (at column 1)"),
            ("request.host ? true : false",             "?: cannot be applied to string, bool, bool (at column 14)"),
            ("request.host == 'a' ? true : 'a'",        "both branches of ?: must be of one type, not bool and string (at column 21)"),
            ("request.host.all(c, true)",               "all, exists, map and filter go over a list or a map, not string (at column 8)"),
            ("request.auth.access_levels.exists(l, l == 1)", "== cannot be applied to string, int (at column 40)"),
            ("request.auth.access_levels.map(l, l + 'a')[0] == 1", "== cannot be applied to string, int (at column 47)"),
            ("has(request.auth)",                       "request.auth has no value of its own; there is request.auth.access_levels, request.auth.claims, request.auth.principal (at column 4)"),
            ("has(request.hst)",                        "there is no attribute request.hst; there is request.auth.access_levels, request.auth.claims, request.auth.principal, request.headers['NAME'], request.host, request.method, request.path, request.time (at column 4)"),
            ("request.time > timestamp('tomorrow')",    "\"tomorrow\" is no timestamp; write one like '2026-01-31T18:00:00Z' (at column 25)"),
            ("request.time > timestamp('2026-02-30T00:00:00Z')", "\"2026-02-30T00:00:00Z\" is no timestamp; write one like '2026-01-31T18:00:00Z' (at column 25)"),
            ("request.time + duration('1 day') > request.time", "\"1 day\" is no duration; write one like '90m' (at column 24)"),
            ("request.time.getHours('Europe/Berln') == 1", "\"Europe/Berln\" is no time zone; write one like 'Europe/Berlin' or '+01:00' (at column 22)"),
            ("request.time.getHours(1) == 1",           "getHours cannot be applied to timestamp, int (at column 22)"),
            ("inIpRange(source.ip, '10.1.2.3/8')",      "\"10.1.2.3/8\" is no range of addresses; write one like '10.0.0.0/8' (at column 10)"),
            ("inIpRange(source.ip, ['10.0.0.0/8', 'x'])", "\"x\" is no range of addresses; write one like '10.0.0.0/8' (at column 10)"),
            ("inIpRange(source.ip, 10)",                "inIpRange cannot be applied to string, int (at column 10)"),
            ("request.path.extract('/a/') == ''",       "\"/a/\" is no template; it needs one name in braces, as in '/a/{x}/' (at column 21)"),
            ("request.path.matches('[')",               "a pattern is not valid: unclosed character class (at column 21)"),
            ("api.getAttribute('x', []) == []",         "api.getAttribute takes 'iam.googleapis.com/modifiedGrantsByRole' and a default (at column 17)"),
            ("api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', 1) == []", "getAttribute cannot be applied to string, int (at column 17)"),
            ("api.getAttribute('x')",                   "there is no function getAttribute (at column 17)"),
            ("request.getAttribute('x', [])",           "getAttribute is called as api.getAttribute() (at column 21)"),
            ("api == 1",                                "api is used as api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []) (at column 1)"),
            ("request.path.exists(request, true)",      "request is a variable already (at column 20)"),
            ("request.path.",                           "Syntax error: no viable alternative at input '.' (at column 14)"),
        ];
        for (source, expected) in cases {
            let refused = policy(source).map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
            assert_eq!(refused, expected, "{source}");
        }
    }

    #[test]
    fn a_path_that_is_not_normal_must_pass_twice_and_is_denied_by_either() {
        let world = World::new();
        let admin = "request.path.startsWith('/admin')";
        let odd = "request.path == '/public/;x' || int(request.path.extract('/public{n}')) == 1";
        // (condition, path) => (holds, may hold)
        #[rustfmt::skip]
        let cases = [
            (admin,                                 "/admin/a",             "true",         "true"),
            (admin,                                 "/public",              "false",        "false"),
            (admin,                                 "/admin/../public",     "false",        "true"),
            (admin,                                 "/public/../admin",     "false",        "true"),
            (admin,                                 "/admin;x/../admin/y",  "true",         "true"),
            ("!request.path.startsWith('/admin')",  "/x/../admin",          "false",        "true"),
            ("request.host == 'wiki.example.com'",  "/x/../admin",          "true",         "true"),
            (admin,                                 "//admin",              "false",        "true"),
            (admin,                                 "///admin",             "false",        "true"),
            (admin,                                 "/%61dmin",             "false",        "true"),
            (admin,                                 "/admin%3Bx",           "true",         "true"),
            (admin,                                 "/x/..//admin",         "false",        "true"),
            ("!request.path.startsWith('/admin')",  "//admin",              "false",        "true"),
            ("!request.path.startsWith('/admin')",  "/%61%64%6din",         "false",        "true"),
            ("request.path == '/public'",           "/public",              "true",         "true"),
            ("request.path == '/my%20docs'",        "/my%20docs",           "true",         "true"),
            ("request.path == '/caf%C3%A9'",        "/caf%C3%A9",           "true",         "true"),
            ("request.path == '/caf%C3%A9'",        "/caf%c3%a9",           "false",        "true"),
            ("request.path != '/caf%C3%A9'",        "/caf%c3%a9",           "false",        "true"),
            ("request.path == '/café'",             "/caf%C3%A9",           "false",        "true"),
            ("request.path != '/café'",             "/caf%C3%A9",           "false",        "true"),
            ("request.path != '/my docs'",          "/my%20docs",           "false",        "true"),
            (odd,                                   "/public/;x",           "int failed",   "true"),
            (odd,                                   "/public/;y",           "int failed",   "int failed"),
        ];
        for (source, path, holds, may_hold) in cases {
            let condition = policy(source).unwrap();
            let context = world.at(path);
            let text = |result: Result<bool, EvaluationError>| {
                result.map_or_else(|error| error.to_string(), |holds| holds.to_string())
            };
            assert_eq!(text(condition.holds(&context)), holds, "{source} {path}");
            assert_eq!(text(condition.may_hold(&context)), may_hold, "{source} {path}");
        }
    }

    #[test]
    fn evaluations_for_one_question_share_one_budget() {
        let world = World::new();
        let path = format!("/{}", "p".repeat(2000));
        // (condition, evaluations before it is spent at least, at most)
        #[rustfmt::skip]
        let cases = [
            ("request.path.replace('p', 'qq').replace('q', 'rr') == ''", 5, 1000),
            ("request.path.startsWith('/p')",                       500,    5000),
            ("request.method == 'GET'",                             5000,   50_000),
            ("'a' in request.auth.claims.groups",                   5000,   50_000),
        ];
        for (source, least, most) in cases {
            let (condition, context) = (policy(source).unwrap(), world.at(&path));
            let done = (0..=most).take_while(|_| condition.holds(&context).is_ok()).count();
            assert!((least..most).contains(&done), "{source}: {done}");
            assert!(context.budget().is_spent());
            // From then on nothing is known, and another question has a budget of its own.
            assert_eq!(condition.holds(&context), Err(EvaluationError::BudgetSpent), "{source}");
            assert_eq!(policy("true").unwrap().may_hold(&context), Err(EvaluationError::BudgetSpent));
            assert!(condition.holds(&world.at(&path)).is_ok(), "{source}");
        }
    }

    #[test]
    fn what_one_condition_spends_another_has_not() {
        let world = World::new();
        let path = format!("/{}", "p".repeat(200));
        let context = world.at(&path);
        let spender =
            policy("request.path.split('').all(a, request.path.split('').all(b, a + b != request.host))").unwrap();
        let stopped = (0..20).map(|_| spender.holds(&context)).collect::<Vec<_>>();
        assert_eq!(stopped.last(), Some(&Err(EvaluationError::BudgetSpent)));
        assert_eq!(policy("request.path.startsWith('/p')").unwrap().holds(&context), Err(EvaluationError::BudgetSpent));
    }

    #[test]
    fn a_condition_says_what_it_reads_and_what_the_values_are() {
        let world = World::new();
        let context = world.at("/a/../b");
        let source = "request.path == '/b' && request.auth.claims.email != request.headers['Origin'] && \
             has(request.auth.claims.groups) && request.time.getHours() > destination.port && request.path != ''";
        let condition = policy(source).unwrap();
        let read: Vec<String> =
            condition.reads().iter().map(|path| format!("{path} was {}", path.value(&context).unwrap())).collect();
        #[rustfmt::skip]
        assert_eq!(read, [
            "request.path was \"/a/../b\" and, normalised, \"/b\"",
            "request.auth.claims[\"email\"] was \"ann@example.com\"",
            "request.headers[\"origin\"] was \"https://a.test\"",
            "request.time was 2026-07-06T05:30:00Z",
            "destination.port was 22",
            "request.auth.claims[\"groups\"] was [\"eng\"]",
        ]);
    }

    #[test]
    fn a_condition_that_compiles_no_longer_grants_nothing_and_denies() {
        let condition = Condition::failing("request.headers['gone'] == ''");
        let context = RequestContext::new(MONDAY);
        assert_eq!(condition.holds(&context), Err(EvaluationError::NotCompiled));
        assert_eq!(condition.may_hold(&context), Err(EvaluationError::NotCompiled));
        assert_ne!(condition, policy("true").unwrap());
    }

    #[test]
    fn a_condition_on_large_claims_is_bounded() {
        let mut world = World::new();
        world.claims.insert("list".to_owned(), json!(vec!["a".repeat(1000); 1000]));
        let context = world.at("/");
        assert_eq!(holds("request.auth.claims.email != ''", &context), "true");
        let long = format!("/{}", "a".repeat(100_000));
        let path = world.at(&long);
        assert_eq!(holds("request.path.endsWith('a') && !request.path.contains('b')", &path), "true");
        assert_eq!(holds("request.path + request.path == ''", &path), "false");
        let longer = format!("/{}", "a".repeat(600_000));
        let path = world.at(&longer);
        assert_eq!(holds("request.path.endsWith('a')", &path), "the values are too large to be looked at");
        assert_eq!(holds("size(request.auth.claims) > 1", &context), "the values are too large to be looked at");
        assert_eq!(holds("'b' in request.auth.claims.list", &context), "the values are too large to be looked at");
    }

    #[test]
    fn what_type_checks_by_chance_evaluates_without_panic_and_mostly_without_a_type_error() {
        const LEAVES: [&str; 16] = [
            "request.host",
            "request.path",
            "request.time",
            "request.auth.claims",
            "request.auth.claims.age",
            "request.auth.access_levels",
            "destination.port",
            "source.ip",
            "'a'",
            "1",
            "true",
            "[]",
            "['a']",
            "duration('1h')",
            "timestamp('2026-01-01T00:00:00Z')",
            "{'a': 1}",
        ];
        fn written(dice: &mut Dice, depth: usize) -> String {
            const BINARY: [&str; 10] = ["+", "-", "*", "==", "<", "&&", "||", " in ", "!=", ">="];
            const CALLS: [&str; 8] = [
                "size(<1>)",
                "<1>.startsWith(<2>)",
                "<1>.getHours()",
                "<1>.getDayOfYear('Asia/Tokyo')",
                "string(<1>)",
                "<1>.exists(v, v == <2>)",
                "<1>.map(v, <2>)",
                "inIpRange(<1>, <2>)",
            ];
            if depth == 0 {
                return LEAVES[dice.roll(LEAVES.len())].to_owned();
            }
            let (one, two) = (written(dice, depth - 1), written(dice, depth - 1));
            match dice.roll(4) {
                0 => CALLS[dice.roll(CALLS.len())].replace("<2>", &two).replace("<1>", &format!("({one})")),
                1 => format!("(({one}) == ({two})) ? ({one}) : ({two})"),
                _ => format!("({one}){}({two})", BINARY[dice.roll(BINARY.len())]),
            }
        }
        let world = World::new();
        let context = world.at("/a/../b");
        let mut dice = Dice(0x5eed_0007);
        let (mut accepted, mut mistyped) = (0, Vec::new());
        for _ in 0..ROUNDS {
            let depth = 1 + dice.roll(3);
            let source = format!("({}) == ({})", written(&mut dice, depth), written(&mut dice, depth - 1));
            if let Ok(condition) = policy(&source) {
                accepted += 1;
                let wrong = matches!(condition.holds(&context), Err(EvaluationError::WrongType { .. }));
                // Claims are of types that nobody knows before.
                if wrong && !source.contains("claims") {
                    mistyped.push(source);
                }
            }
        }
        assert!(accepted > 50, "only {accepted} were accepted");
        assert!(mistyped.is_empty(), "{mistyped:#?}");
    }
}
