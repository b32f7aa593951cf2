use super::*;

fn read(text: &str) -> Result<Parsed, Problems> {
    parse("test.toml", text, &NodeName::from("here"))
}

const DESIGN: &str = r#"
workers = 0                      # data workers; 0 = one per core

[[listener]]
name = "shop"
bind = "127.0.0.1:6033"          # or a list
mode = "mysql"                   # mysql | tcp | http
backend = "shop"

[[backend]]
name = "shop"
topology = "mariadb-replication" # static when left out
monitor = { user = "monitor", password = "secret", interval = "500ms" }

[[backend.server]]
name = "db1"
address = "10.0.0.11:3306"

[[user]]
name = "app"
password = "secret"              # clear, or *hex, or a caching_sha2 form

[admin]
sql = "127.0.0.1:6032"           # users in [[admin.user]]; without one, a password is made, shown once and stored
web = "127.0.0.1:6080"
"#;

#[test]
fn the_form_of_the_design_is_read() {
    let parsed = read(DESIGN).unwrap();
    assert_eq!(parsed.warnings, []);
    let backend = &parsed.config.shared.backends["shop"];
    assert_eq!(backend.servers["db1"].max_connections, 200);
    assert_eq!(backend.monitor.password.expose(), "secret");
    assert_eq!(parsed.config.node["here"].binds["shop"].len(), 1);
}
