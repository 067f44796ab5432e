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
        ("timestamp('2026-01-01T00:00:00Z')",   "there is no function timestamp (at column 10)"),
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
        let compiled = Condition::compile(source, &["assertion"], &[("assertion", &sample)]);
        assert_eq!(compiled.map_or_else(|error| error.to_string(), |_| "accepted".to_owned()), expected, "{source}");
    }
}

#[test]
fn a_condition_that_cannot_be_evaluated_does_not_hold() {
    let condition = Condition::compile("assertion.sub", &["assertion"], &[("assertion", &json!({}))]).unwrap();
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
