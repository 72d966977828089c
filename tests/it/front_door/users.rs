//! Users: their rights, and the answers to requests of nobody.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use point_to_point::config::{ProducerApiSettings, Secret};
use point_to_point::http::HttpServer;
use point_to_point::users::{self, Entry, PasswordHash, Right, Token};

use super::support::{Answer, Channel, Client, post as plain_post, settings, start, until};
use crate::support::watchdog::Folder;

/// A folder with a file of users.
pub struct UsersFile(Folder);

impl UsersFile {
    pub fn new() -> UsersFile {
        let file = UsersFile(Folder::new("users"));
        users::change(&file.path(), |_| Ok(())).unwrap();
        file
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("users.toml")
    }

    /// Adds a user with a token, and returns the `Authorization` of its requests.
    pub fn add(&self, name: &str, rights: &[Right], topics: &[&str], password: Option<&str>) -> String {
        let (token, hash) = Token::generate().unwrap();
        let entry = Entry {
            rights: rights.iter().copied().collect(),
            topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
            token: Some(hash),
            password: password.map(|password| PasswordHash::new(password).unwrap()),
            certificate: false,
        };
        self.insert(name, entry);
        format!("Bearer {}", token.expose())
    }

    /// Adds a user that shows a certificate.
    pub fn add_with_certificate(&self, name: &str, rights: &[Right]) {
        let (rights, topics) = (rights.iter().copied().collect(), Vec::new());
        self.insert(name, Entry { rights, topics, token: None, password: None, certificate: true });
    }

    fn insert(&self, name: &str, entry: Entry) {
        users::change(&self.path(), |entries| Ok(entries.insert(name.to_owned(), entry))).unwrap();
    }

    pub fn remove(&self, name: &str) {
        users::change(&self.path(), |entries| Ok(entries.remove(name))).unwrap().expect("it was there");
    }

    fn settings(&self) -> ProducerApiSettings {
        ProducerApiSettings { users_file: Some(self.path()), ..settings() }
    }

    fn start(&self) -> (HttpServer, Channel) {
        start(&self.settings())
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// A request with this `Authorization`.
fn request(method: &str, path: &str, authorization: &str, body: &str) -> String {
    let media = if path.starts_with("/topics") && method == "POST" {
        "Content-Type: application/vnd.kafka.json.v2+json\r\n"
    } else {
        ""
    };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{media}Authorization: {authorization}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// The answer to a `POST /enviar` on a connection of its own.
fn send(address: SocketAddr, authorization: &str) -> Answer {
    Client::connect(address).ask(request("POST", "/enviar", authorization, "{}"))
}

/// The answer once the wait of the address has ended. A busy machine may check a password too slowly.
fn after_the_wait(mut ask: impl FnMut() -> Answer) -> Answer {
    let mut answer = None;
    until("the wait ends", || {
        let answer = answer.insert(ask());
        answer.status != 429 && !(answer.status == 503 && answer.body.contains("slow_check"))
    });
    answer.expect("one at least")
}

#[test]
fn each_right_opens_its_routes_and_no_others() {
    let file = UsersFile::new();
    let all = Right::ALL.map(|right| (right, file.add(&right.to_string(), &[right], &["*"], None)));
    let (server, _channel) = file.start();
    for (method, path, needed) in [
        ("POST", "/enviar", Some(Right::Send)),
        ("POST", "/topics/pedidos", Some(Right::Send)),
        ("POST", "/topics/pedidos/partitions/0", Some(Right::Send)),
        ("POST", "/recibir", Some(Right::Receive)),
        ("POST", "/queues/pedidos/receive", Some(Right::Receive)),
        ("GET", "/queues/pedidos", Some(Right::Read)),
        ("GET", "/topics", Some(Right::Read)),
        ("GET", "/topics/pedidos", Some(Right::Read)),
        ("GET", "/topics/pedidos/partitions", Some(Right::Read)),
        ("HEAD", "/topics/pedidos/partitions/0", Some(Right::Read)),
        ("GET", "/brokers", Some(Right::Read)),
        ("GET", "/events", Some(Right::Read)),
        ("GET", "/metrics", Some(Right::Read)),
        ("GET", "/dead-letters?text=a", Some(Right::Read)),
        ("POST", "/dead-letters/replay", Some(Right::Admin)),
        ("POST", "/dead-letters/discard", Some(Right::Admin)),
        ("GET", "/", None),
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/openapi.json", None),
        ("GET", "/nothing", None),
        ("GET", "/enviar", None),
    ] {
        for (right, token) in &all {
            let mut client = Client::connect(server.address());
            client.send(request(method, path, token, if method == "POST" { "{}" } else { "" }));
            let answer = client.answer_to(method == "HEAD" || path == "/events");
            let may = needed.is_none_or(|needed| needed == *right || *right == Right::Admin);
            assert_ne!(answer.status, 401, "{method} {path} as {right}");
            assert_eq!(answer.status != 403, may, "{method} {path} as {right}: {}", answer.head);
            if !may && method != "HEAD" && path != "/events" {
                assert_eq!(answer.code(), "missing_right");
                assert!(answer.body.contains(&format!("`{}`", needed.unwrap())), "{}", answer.body);
            }
        }
    }
}

#[test]
fn a_user_sends_to_its_topics_alone() {
    let file = UsersFile::new();
    let own = file.add("own", &[Right::Send], &[], None);
    let orders = file.add("orders", &[Right::Send], &["pedidos*"], None);
    let (server, _channel) = file.start();
    let records = r#"{"records":[{"value":1}]}"#;
    for (user, path, allowed) in [
        (&own, "/enviar", true),
        (&own, "/topics/mi-topico", true),
        (&own, "/topics/pedidos", false),
        (&orders, "/enviar", false),
        (&orders, "/topics/mi-topico", false),
        (&orders, "/topics/pedidos", true),
        (&orders, "/topics/pedidos-2/partitions/0", true),
        (&orders, "/topics/ped%69dos", true),
        (&orders, "/topics/otros%2Fpedidos", false),
    ] {
        let answer = Client::connect(server.address()).ask(request("POST", path, user, records));
        let refused = answer.status == 403;
        assert_eq!(refused, !allowed, "{path}: {}", answer.body);
        assert!(!refused || answer.code() == "topic_not_allowed");
    }
}

#[test]
fn name_and_password_are_taken_in_utf8_also_from_one_connection_one_after_the_other() {
    let file = UsersFile::new();
    file.add("José", &[Right::Send], &[], Some("contraseña ñ"));
    let (server, channel) = file.start();
    let right = basic("José", "contraseña ñ");
    let mut client = Client::connect(server.address());
    for _ in 0..3 {
        client.send(request("POST", "/enviar", &right, "{}"));
    }
    for _ in 0..3 {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(channel.taken().len(), 3);
    for wrong in [
        basic("José", "contraseña n"),
        basic("José", ""),
        basic("jose", "contraseña ñ"),
        "Basic".to_owned(),
        "Basic !".to_owned(),
    ] {
        let answer = after_the_wait(|| send(server.address(), &wrong));
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{wrong}");
        for challenge in ["Bearer\r\n", "Basic realm=\"point-to-point\", charset=\"UTF-8\"\r\n"] {
            assert!(answer.head.contains(&format!("\r\nWWW-Authenticate: {challenge}")), "{}", answer.head);
        }
        assert!(!answer.body.contains("contrase"), "{}", answer.body);
    }
    assert_eq!(channel.taken().len(), 3);
}

#[test]
fn the_body_of_a_request_is_asked_for_only_once_its_password_is_right() {
    let file = UsersFile::new();
    file.add("ana", &[Right::Send], &[], Some("geheim-geheim"));
    file.add("luis", &[Right::Read], &[], Some("geheim-geheim"));
    let (server, channel) = file.start();
    let head = |name: &str, password: &str| {
        format!(
            "POST /enviar HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: {}\r\n\
             Content-Length: 2\r\n\r\n",
            basic(name, password)
        )
    };
    for (name, password, status) in
        [("ana", "wrong-wrong", 401), ("luis", "geheim-geheim", 403), ("nobody", "geheim-geheim", 401)]
    {
        let answer = after_the_wait(|| {
            let mut client = Client::connect(server.address());
            let answer = client.ask(head(name, password));
            assert!(client.is_closed());
            answer
        });
        assert_eq!(answer.status, status, "{name}");
    }
    let mut client = Client::connect(server.address());
    until("the wait ends", || {
        client = Client::connect(server.address());
        client.send(head("ana", "geheim-geheim"));
        client.answer().status == 100
    });
    assert_eq!(client.ask("{}").status, 200);
    for _ in 0..2 {
        assert_eq!(client.ask(head("ana", "geheim-geheim")).status, 100);
        assert_eq!(client.ask("{}").status, 200);
    }
    assert_eq!(channel.taken().len(), 3);
}

#[test]
fn without_a_user_nobody_learns_what_there_is_and_the_endpoints_own_token_has_every_right() {
    let file = UsersFile::new();
    let ana = file.add("ana", &[Right::Send], &[], None);
    let token = "0123456789abcdef";
    let with_token = ProducerApiSettings { token: Some(Secret::new(token)), ..file.settings() };
    let (server, _channel) = start(&with_token);
    for target in ["POST /enviar", "GET /metrics", "GET /nothing", "POST /healthz"] {
        let text = format!("{target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let answer = Client::connect(server.address()).ask(text);
        assert_eq!(answer.status, 401, "{target}");
        assert!(!answer.head.contains("Basic"), "nobody has a password: {}", answer.head);
    }
    assert_eq!(send(server.address(), &ana).status, 200);
    assert_eq!(send(server.address(), &basic("ana", "x")).status, 401);
    let own = format!("Bearer {token}");
    for (method, path) in [("POST", "/enviar"), ("GET", "/metrics"), ("GET", "/topics")] {
        let answer = Client::connect(server.address()).ask(request(method, path, &own, "{}"));
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[test]
fn a_removed_user_loses_access_and_its_streams_while_the_endpoint_runs() {
    let file = UsersFile::new();
    let token = file.add("ana", &[Right::Send, Right::Read], &[], Some("geheim-geheim"));
    let kept = file.add("luis", &[Right::Send], &[], Some("otra clave"));
    let (server, _channel) = file.start();
    let password = basic("ana", "geheim-geheim");
    assert_eq!(send(server.address(), &token).status, 200);
    assert_eq!(send(server.address(), &password).status, 200, "it is remembered now");
    assert_eq!(send(server.address(), &basic("luis", "otra clave")).status, 200);
    let mut watcher = Client::connect(server.address());
    watcher.send(request("GET", "/events", &password, ""));
    watcher.read_until("event: letters\ndata: []\n\n\r\n");
    file.remove("ana");
    until("the token is refused", || send(server.address(), &token).status == 401);
    assert_eq!(send(server.address(), &password).status, 401);
    watcher.read_until("0\r\n\r\n");
    assert!(watcher.is_closed());
    assert_eq!(send(server.address(), &kept).status, 200);
    let new = file.add("eva", &[Right::Send], &[], None);
    until("the new one is served", || send(server.address(), &new).status == 200);
}

#[test]
fn wrong_passwords_by_the_thousand_are_all_answered_and_keep_nobody_from_service() {
    let file = UsersFile::new();
    file.add("ana", &[Right::Send], &[], Some("geheim-geheim"));
    let token = file.add("luis", &[Right::Send], &[], None);
    let (server, channel) = file.start();
    let address = server.address();
    let right = basic("ana", "geheim-geheim");
    assert_eq!(send(address, &right).status, 200);
    let attackers: Vec<_> = (0..8)
        .map(|attacker| {
            thread::spawn(move || {
                // At once, as one after the other would wait long.
                let clients = (0..125).map(|number| {
                    let wrong = basic("ana", &format!("wrong {attacker} {number}"));
                    let mut client = Client::connect(address);
                    client.send(request("POST", "/enviar", &wrong, "{}"));
                    client
                });
                for mut client in clients.collect::<Vec<_>>() {
                    let answer = client.answer();
                    assert!(matches!(answer.status, 401 | 429 | 503), "{}", answer.head);
                    let later = answer.head.contains("\r\nRetry-After: ");
                    assert_eq!(later, answer.status != 401, "{}", answer.head);
                }
            })
        })
        .collect();
    let mut good = [Client::connect(address), Client::connect(address)];
    for _ in 0..200 {
        assert_eq!(good[0].ask(request("POST", "/enviar", &token, "{}")).status, 200);
        assert_eq!(good[1].ask(request("POST", "/enviar", &right, "{}")).status, 200);
    }
    for attacker in attackers {
        attacker.join().unwrap();
    }
    assert_eq!(channel.taken().len(), 401);
}

#[test]
fn wrong_passwords_from_a_few_addresses_do_not_keep_out_a_right_one_from_another() {
    let file = UsersFile::new();
    file.add("ana", &[Right::Send], &[], Some("geheim-geheim"));
    let (server, channel) = file.start();
    // More than may wait.
    let ask = |from: u8, password: &str| {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 1, from), server.address());
        client.send(request("POST", "/enviar", &basic("ana", password), "{}"));
        client
    };
    let wrong = |number: u8| ask(number % 3, &format!("wrong {number}"));
    let mut attackers: Vec<Client> = (0..96).map(wrong).collect();
    // On a busy machine the pause after a wrong one may be longer than a request waits.
    until("a right one is not refused", || {
        let answer = ask(10, "geheim-geheim").answer();
        assert!(answer.status == 200 || answer.code() == "slow_check", "{}", answer.body);
        answer.status == 200
    });
    server.stop(std::time::Instant::now());
    let answers: Vec<Answer> = attackers.iter_mut().map(Client::answer).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "{statuses:?}");
    let made_room = answers.iter().find(|answer| answer.status == 429).expect("some have made room");
    assert_eq!(made_room.code(), "too_many_attempts");
    assert!(made_room.head.contains("\r\nRetry-After: "), "{}", made_room.head);
    assert_eq!(channel.taken().len(), 1);
}

#[test]
fn requests_that_wait_for_a_password_are_answered_when_the_endpoint_stops() {
    let file = UsersFile::new();
    file.add("ana", &[Right::Send], &[], Some("geheim-geheim"));
    let (server, _channel) = file.start();
    let mut waiting: Vec<Client> = (0..4)
        .map(|number| {
            let mut client = Client::connect(server.address());
            client.send(request("POST", "/enviar", &basic("ana", &format!("wrong {number}")), "{}"));
            client
        })
        .collect();
    assert_eq!(Client::connect(server.address()).ask(plain_post("", "{}")).status, 401);
    server.stop(std::time::Instant::now());
    for client in &mut waiting {
        let answer = client.answer();
        assert!(matches!(answer.status, 401 | 503), "{}", answer.head);
    }
}
