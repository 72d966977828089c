//! `kafka.security` and the keys beside it.

use std::os::unix::fs::PermissionsExt;

use super::tests::{Folder, error, read};

const PASSWORD: &str = "POINT_TO_POINT__KAFKA__SASL_PASSWORD";

/// Settings for brokers elsewhere, with these further lines under `[kafka]`.
fn file(lines: &str) -> String {
    format!("[kafka]\nbootstrap_servers = \"kafka.example:9093\"\n{lines}\n")
}

const SCRAM: &str = "security = \"sasl_tls\"\nsasl_mechanism = \"SCRAM-SHA-512\"\nsasl_username = \"orders\"";

#[test]
fn kafkas_own_names_of_the_protocols_are_understood() {
    for (ours, kafkas) in [
        ("plaintext", "PLAINTEXT"),
        ("tls", "SSL"),
        ("sasl_plaintext", "SASL_PLAINTEXT"),
        ("sasl_tls", "SASL_SSL"),
    ] {
        let with = |name: &str| {
            let rest =
                if name.to_lowercase().starts_with("sasl") { SCRAM.split_once('\n').unwrap().1 } else { "" };
            let text = file(&format!("security = \"{name}\"\n{rest}"));
            read(&text, &[], &[]).or_else(|_| read(&text, &[(PASSWORD, "p")], &[])).unwrap()
        };
        let protocol = with(ours).kafka.security.protocol;
        assert_eq!(protocol, with(kafkas).kafka.security.protocol);
    }
    let wrong = error(&file("security = \"SASL-SSL\""), &[], &[]);
    assert!(
        wrong.starts_with("point.toml line 3: kafka.security: must be \"plaintext\", \"tls\""),
        "{wrong}"
    );
    let iam = error(&file("sasl_mechanism = \"AWS_MSK_IAM\""), &[], &[]);
    assert!(iam.contains("OAUTHBEARER") && iam.contains("docs/kafka-security.md"), "{iam}");
}

#[test]
fn the_password_comes_from_the_environment_or_a_file_and_is_never_shown() {
    let settings = read(&file(SCRAM), &[(PASSWORD, "hunter2-hunter2")], &[]).unwrap();
    assert_eq!(settings.kafka.security.sasl.password.as_ref().unwrap().expose(), "hunter2-hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
    // A password that reads like a number is text all the same.
    let number = read(&file(SCRAM), &[(PASSWORD, "007")], &[]).unwrap();
    assert_eq!(number.kafka.security.sasl.password.as_ref().unwrap().expose(), "007");
    // Its quotes, brackets and blanks belong to it, too.
    for password in ["'abc'", "\"abc\"", "\"\"\"abc\"\"\"", "[\"abc\"]", " abc ", "true"] {
        let settings = read(&file(SCRAM), &[(PASSWORD, password)], &[]).unwrap();
        assert_eq!(settings.kafka.security.sasl.password.as_ref().unwrap().expose(), password);
    }
    let option = error(&file(SCRAM), &[], &["kafka.sasl_password=hunter2"]);
    let line = error(&file("sasl_password = \"hunter2\""), &[], &[]);
    for (error, place) in [(option, "--set: "), (line, "point.toml line 3: ")] {
        assert!(error.starts_with(&format!("{place}kafka.sasl_password: is not taken from here")), "{error}");
        assert!(error.contains(PASSWORD) && error.contains("kafka.sasl_password_file"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let both = error(&file(SCRAM), &[(PASSWORD, "hunter2")], &["kafka.sasl_password_file=p"]);
    assert!(both.contains("only one of them can hold the password") && !both.contains("hunter2"), "{both}");
}

/// A file that its owner alone can read, for as long as the folder lives.
fn secret(folder: &Folder) -> String {
    let path = folder.0.join("secret");
    std::fs::write(&path, "hunter2\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// Settings that are refused, and what the error says of them.
fn refused(cases: &[(&str, &str)]) {
    for (lines, expected) in cases {
        let error = error(&file(lines), &[], &[]);
        assert!(error.contains(expected), "{lines}: {error}");
    }
}

#[test]
fn what_belongs_together_is_set_together() {
    refused(&[
        ("tls_ca = \"ca.pem\"", "kafka.tls_ca: has no effect unless kafka.security says so"),
        ("security = \"sasl_plaintext\"\ntls_key = \"k\"", "kafka.tls_key: has no effect"),
        ("security = \"tls\"\nsasl_username = \"orders\"", "kafka.sasl_username: has no effect"),
        ("security = \"tls\"\noauth_scope = \"kafka\"", "kafka.oauth_scope: has no effect"),
        ("security = \"sasl_tls\"", "kafka.security: needs kafka.sasl_mechanism"),
        (SCRAM, "kafka.sasl_mechanism: needs a password"),
        (
            "security = \"sasl_tls\"\nsasl_mechanism = \"PLAIN\"\nsasl_password_file = \"p\"",
            "kafka.sasl_mechanism: needs kafka.sasl_username",
        ),
    ]);
    let certificate =
        ["kafka.security=sasl_tls", "kafka.sasl_mechanism=OAUTHBEARER", "kafka.oauth_token_file=t"];
    let with = |more: &[&str]| error(&file(""), &[], &[&certificate[..], more].concat());
    assert!(with(&["kafka.tls_certificate=c"]).contains("kafka.tls_certificate: needs kafka.tls_key"));
    assert!(with(&["kafka.tls_key=k"]).contains("kafka.tls_key: needs kafka.tls_certificate"));
    // The same without SASL: mutual TLS alone.
    refused(&[
        ("security = \"tls\"\ntls_certificate = \"c\"", "kafka.tls_certificate: needs kafka.tls_key"),
        ("security = \"tls\"\ntls_key = \"k\"", "kafka.tls_key: needs kafka.tls_certificate"),
    ]);
    let embedded = error("[kafka]\nsecurity = \"tls\"\n", &[], &[]);
    assert!(
        embedded.contains("the embedded broker has neither TLS nor SASL")
            || embedded.contains("which has no other")
    );
}

#[test]
fn a_token_comes_from_one_place() {
    let bearer = "security = \"sasl_tls\"\nsasl_mechanism = \"OAUTHBEARER\"\n";
    let with = |lines: &str| file(&format!("{bearer}{lines}"));
    let url = "oauth_token_url = \"https://login.example/token\"";
    for (lines, expected) in [
        (String::new(), "needs a token"),
        (
            "oauth_token_file = \"t\"\noauth_token_command = [\"token\"]".to_owned(),
            "a token comes from one place",
        ),
        (url.to_owned(), "needs kafka.oauth_client_id"),
        (format!("{url}\noauth_client_id = \"a\""), "needs kafka.oauth_client_secret_file"),
        (
            "oauth_token_file = \"t\"\noauth_scope = \"s\"".to_owned(),
            "kafka.oauth_scope: needs kafka.oauth_token_url",
        ),
        ("oauth_token_file = \"t\"\nsasl_username = \"u\"".to_owned(), "takes a token, not a password"),
    ] {
        let error = error(&with(&lines), &[], &[]);
        assert!(error.contains(expected), "{lines}: {error}");
    }
    let folder = Folder::new();
    let client = format!("oauth_client_id = \"a\"\noauth_client_secret_file = \"{}\"", secret(&folder));
    for lines in [
        "oauth_token_file = \"t\"".to_owned(),
        "oauth_token_command = [\"token\", \"-v\"]".to_owned(),
        format!("{url}\n{client}\noauth_extensions = [\"logicalCluster=lkc-1\", \"identityPoolId=pool-2\"]"),
    ] {
        read(&with(&lines), &[], &[]).unwrap();
    }
}

#[test]
fn a_readable_password_needs_encryption_or_a_word() {
    let folder = Folder::new();
    let user = format!("sasl_username = \"u\"\nsasl_password_file = \"{}\"", secret(&folder));
    let open = |mechanism: &str, server: &str| {
        let from = if mechanism == "OAUTHBEARER" { "oauth_token_file = \"t\"" } else { &user };
        format!(
            "[kafka]\nbootstrap_servers = \"{server}\"\nsecurity = \"sasl_plaintext\"\n\
             sasl_mechanism = \"{mechanism}\"\n{from}\n"
        )
    };
    for mechanism in ["PLAIN", "OAUTHBEARER"] {
        let error = error(&open(mechanism, "kafka.example:9092"), &[], &[]);
        assert!(error.contains("kafka.security: must be \"sasl_tls\" for kafka.example:9092"), "{error}");
        let permit = ["kafka.anyone_may_read_the_password=true"];
        read(&open(mechanism, "kafka.example:9092"), &[], &permit).unwrap();
        read(&open(mechanism, "localhost:9092"), &[], &[]).unwrap();
    }
    read(&open("SCRAM-SHA-256", "kafka.example:9092"), &[], &[]).unwrap();
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    refused(&[
        (
            "tls_insecure = \"yes\"",
            "must be the sentence \"I accept that anyone may read and change my messages\"",
        ),
        ("tls_insecure = true", "must be the sentence"),
        ("sasl_username = \"\"", "must be 1 to 1024 bytes of text"),
        ("oauth_token_url = \"http://login.example/token\"", "not sent unencrypted to another host"),
        ("oauth_token_url = \"ftp://login.example/token\"", "must be an address like"),
        ("oauth_token_url = \"https://\"", "must be an address like"),
        ("oauth_token_url = \"https://a:b@login.example/\"", "without a user name or password in it"),
        ("oauth_extensions = [\"auth=x\"]", "must be a list of name=value"),
        ("oauth_extensions = [\"a=1\", \"a=2\"]", "is there twice"),
        ("oauth_extensions = [\"a\"]", "must be a list of name=value"),
    ]);
    for url in [
        "http://localhost:8080/token",
        "http://127.0.0.1/t",
        "http://[::1]:99/t",
        "https://login.example:8443/t",
    ] {
        let error = error(&file(&format!("oauth_token_url = \"{url}\"")), &[], &[]);
        assert!(error.contains("has no effect"), "the address is fine: {error}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_key_and_line() {
    let folder = Folder::new();
    let path = secret(&folder);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let others = error(&file(&format!("{SCRAM}\nsasl_password_file = \"{path}\"")), &[], &[]);
    assert!(others.contains("point.toml line 6: kafka.sasl_password_file: "), "{others}");
    assert!(
        others.contains("may be read by others than its owner") && !others.contains("hunter2"),
        "{others}"
    );
    let bearer = "security = \"sasl_tls\"\nsasl_mechanism = \"OAUTHBEARER\"";
    let token = |path: &str| file(&format!("{bearer}\noauth_token_file = \"{path}\""));
    for refused in [&path, &folder.0.display().to_string()] {
        let error = error(&token(refused), &[], &[]);
        assert!(error.starts_with("point.toml line 5: kafka.oauth_token_file: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let empty = folder.0.join("empty");
    std::fs::write(&empty, "").unwrap();
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o600)).unwrap();
    read(&token(&empty.display().to_string()), &[], &[]).unwrap();
    let absent = error(&file("security = \"tls\"\ntls_ca = \"/nowhere/ca.pem\""), &[], &[]);
    assert!(absent.starts_with("point.toml line 4: kafka.tls_ca: /nowhere/ca.pem"), "{absent}");
}

#[test]
fn the_address_of_an_identity_provider_is_quoted_by_no_error_and_shown_without_its_query() {
    for url in [
        "https//me:hunter2@login.example/token",
        "https://me:hunter2@login.example/token",
        "https:///token?secret=hunter2",
        "ftp://me:hunter2/token",
        "http://login.example/token?secret=hunter2",
        "https://login.example/to ken?secret=hunter2",
        "hunter2",
    ] {
        let text = file(&format!("oauth_token_url = \"{url}\""));
        for error in [
            error(&text, &[], &[]),
            error(&file(""), &[("POINT_TO_POINT__KAFKA__OAUTH_TOKEN_URL", url)], &[]),
        ] {
            assert!(error.contains("kafka.oauth_token_url: must be an address like"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
    let folder = Folder::new();
    let text = file(&format!(
        "security = \"sasl_tls\"\nsasl_mechanism = \"OAUTHBEARER\"\noauth_client_id = \"a\"\n\
         oauth_client_secret_file = \"{}\"\noauth_token_url = \"https://login.example/token?key=hunter2\"",
        secret(&folder)
    ));
    let shown = format!("{:?}", read(&text, &[], &[]).unwrap());
    assert!(shown.contains("https://login.example/token") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn every_secret_of_the_environment_is_kept_from_programs_of_others() {
    for (key, _) in crate::config::keys::SECRETS {
        let variable = format!("POINT_TO_POINT__{}", key.replacen('.', "__", 1).to_uppercase());
        assert!(net::secret_variables::SECRET_VARIABLES.contains(&variable.as_str()), "{variable}");
    }
}

#[test]
fn a_wrong_url_that_messages_are_sent_to_is_quoted_by_no_error() {
    for url in ["http://me:hunter2@example", "http://me:hunter2@", "ftp://me:hunter2/", "hunter2:// x"] {
        let error = error(&format!("[consumer]\npush_url = \"{url}\"\n"), &[], &[]);
        assert!(error.contains("consumer.push_url: must be a URL"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
