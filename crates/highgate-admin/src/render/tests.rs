use std::sync::Arc;

use highgate_config::table::{Column, Kind, Metric, Row, Table, Value};

use super::{metrics::render_metrics, *};
use crate::Tables;

const COLUMNS: &[Column] = &[
    Column { name: "name", kind: Kind::Text, metric: Metric::Label, doc: "Its name." },
    Column { name: "status", kind: Kind::Text, metric: Metric::State, doc: "Up or down." },
    Column { name: "lag_ms", kind: Kind::Real, metric: Metric::Gauge, doc: "Lag, in ms." },
    Column { name: "commands", kind: Kind::Integer, metric: Metric::Counter, doc: "Done\nso far." },
    Column { name: "reason", kind: Kind::Text, metric: Metric::None, doc: "Why." },
];

struct Servers(Vec<Row>);

impl Table for Servers {
    fn name(&self) -> &'static str {
        "servers"
    }
    fn doc(&self) -> &'static str {
        "A server."
    }
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }
    fn rows(&self) -> Vec<Row> {
        self.0.clone()
    }
}

fn rows() -> Vec<Row> {
    vec![
        vec!["db1".into(), "up".into(), 0.25.into(), 12_i64.into(), Value::Null],
        vec!["d\"2".into(), "down".into(), Value::Null, 7_i64.into(), "no answer, twice".into()],
    ]
}

#[test]
fn metrics_are_spelled_as_a_scraper_reads_them() {
    let text = render_metrics(&Tables::new(vec![Arc::new(Servers(rows()))]));
    assert_eq!(
        text,
        "\
# HELP highgate_servers_status Up or down.
# TYPE highgate_servers_status gauge
highgate_servers_status{name=\"db1\",status=\"up\"} 1
highgate_servers_status{name=\"d\\\"2\",status=\"down\"} 1
# HELP highgate_servers_lag_ms Lag, in ms.
# TYPE highgate_servers_lag_ms gauge
highgate_servers_lag_ms{name=\"db1\"} 0.25
# HELP highgate_servers_commands_total Done\\nso far.
# TYPE highgate_servers_commands_total counter
highgate_servers_commands_total{name=\"db1\"} 12
highgate_servers_commands_total{name=\"d\\\"2\"} 7
"
    );
}

#[test]
fn rows_with_equal_labels_are_one_series() {
    let row = |n: i64| -> Row { vec!["a".into(), Value::Null, Value::Null, n.into(), Value::Null] };
    let text = render_metrics(&Tables::new(vec![Arc::new(Servers(vec![row(1), row(2)]))]));
    assert!(text.ends_with("\nhighgate_servers_commands_total{name=\"a\"} 3\n"), "{text}");
}

#[test]
fn a_terminal_shows_aligned_columns_and_null_as_a_dash() {
    assert_eq!(
        render_table(COLUMNS, &rows(), 0),
        "\
NAME  STATUS  LAG_MS  COMMANDS  REASON
db1   up        0.25        12  -
d\"2   down         -         7  no answer, twice
"
    );
}

#[test]
fn a_sentence_is_wrapped_and_not_cut() {
    let column = |name| Column { name, kind: Kind::Text, metric: Metric::None, doc: "" };
    let rows: [Row; 1] = [vec!["db1".into(), "one two three four five six seven".into()]];
    assert_eq!(
        render_table(&[column("name"), column("reason")], &rows, 30),
        "NAME  REASON\ndb1   one two three four five\n      six seven\n"
    );
}

#[test]
fn a_sentence_without_room_beside_its_row_stands_below_it() {
    assert_eq!(
        render_table(COLUMNS, &rows(), 40),
        "\
NAME  STATUS  LAG_MS  COMMANDS  REASON
db1   up        0.25        12  -
d\"2   down         -         7
    no answer, twice
"
    );
}

#[test]
fn a_time_is_shown_as_people_read_it() {
    let columns = [Column { name: "time", kind: Kind::Integer, metric: Metric::None, doc: "" }];
    let text = render_table(&columns, &[vec![1_795_229_468_030_i64.into()]], 0);
    assert_eq!(text, "                   TIME\n2026-11-21 02:51:08.030\n");
}

#[test]
fn a_clients_text_can_not_drive_the_terminal() {
    let row: Row = vec!["\x1b[2J".into()];
    assert_eq!(render_table(&COLUMNS[..1], &[row], 80), "NAME\n·[2J\n");
}

#[test]
fn csv_quotes_what_needs_it_and_defuses_formulas() {
    let rows: Vec<Row> = vec![
        vec!["=1+1".into(), "a,b".into(), (-1.5).into(), (-3_i64).into(), "say \"hi\"".into()],
        vec!["".into(), "plain".into(), Value::Null, Value::Null, Value::Null],
    ];
    assert_eq!(
        render_csv(COLUMNS, &rows),
        "name,status,lag_ms,commands,reason\r\n\
         \"'=1+1\",\"a,b\",-1.5,-3,\"say \"\"hi\"\"\"\r\n\
         \"\",plain,,,\r\n"
    );
}

#[test]
fn json_keeps_numbers_and_nulls() {
    assert_eq!(
        row_to_json(COLUMNS, &rows()[0]).to_string(),
        r#"{"commands":12,"lag_ms":0.25,"name":"db1","reason":null,"status":"up"}"#
    );
}

#[test]
fn fractions_are_short() {
    for (number, text) in
        [(0.0, "0"), (1.0, "1"), (0.1 + 0.2, "0.3"), (1234.5678, "1234.568"), (-0.0001, "0")]
    {
        assert_eq!(real(number), text);
    }
}
