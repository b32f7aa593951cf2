//! REST over the tables: list, read, act.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use highgate_config::table::{Action, Column, Kind, Metric, Row, Table};
use highgate_io::tasks;
use serde_json::{Value as Json_, json};

use super::Site;
use crate::render;

/// Rows of an answer unless asked otherwise.
const ROWS: usize = 1000;
/// Rows of an answer whatever is asked; the rest is counted, not shown.
const MOST_ROWS: usize = 100_000;

/// How a table is wanted.
#[derive(Debug, Default)]
struct View {
    format: Format,
    filter: String,
    /// Only these columns, in this order; all when empty.
    columns: Vec<String>,
    /// Only rows where this column has a value.
    present: Option<String>,
    limit: usize,
    is_tail: bool,
    width: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    #[default]
    Json,
    Text,
}

/// `GET /api/v1/tables`.
pub(super) async fn tables(
    State(site): State<Arc<Site>>,
    Query(wishes): Query<Vec<(String, String)>>,
) -> Response {
    match View::parse(&wishes) {
        Ok(view) if view.format == Format::Text => list(&site, view.width).into_response(),
        Ok(_) => {
            let all: Json_ = site.tables.iter().map(|table| describe(&**table)).collect();
            Json(all).into_response()
        }
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

/// The tables with what a row of each is, for people.
fn list(site: &Site, width: usize) -> String {
    let column = |name| Column { name, kind: Kind::Text, metric: Metric::None, doc: "" };
    let rows: Vec<Row> =
        site.tables.iter().map(|table| vec![table.name().into(), table.doc().into()]).collect();
    render::render_table(&[column("table"), column("about")], &rows, width)
}

/// `GET /api/v1/tables/{table}?format=json|csv|text&columns=a,b&filter=text&present=column&limit=n&tail=n&width=n`.
pub(super) async fn table(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Query(wishes): Query<Vec<(String, String)>>,
) -> Response {
    let Some(table) = site.tables.find(&name) else {
        return refuse(StatusCode::NOT_FOUND, &site.tables.no_such_table(&name));
    };
    match View::parse(&wishes) {
        Ok(view) => {
            view.render(&**table).unwrap_or_else(|why| refuse(StatusCode::BAD_REQUEST, &why))
        }
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

/// `POST /api/v1/tables/{table}/{action}` with `{"arguments": ["…"]}`.
pub(super) async fn act(
    State(site): State<Arc<Site>>,
    Path((table, action)): Path<(String, String)>,
    Json(body): Json<Json_>,
) -> Response {
    let Some(arguments) = arguments(&body) else {
        let says = r#"the body has the form {"arguments": ["text", …]}"#;
        return refuse(StatusCode::BAD_REQUEST, says);
    };
    // It may wait for a disk, and for the tasks of this very thread. The turn goes with it: the
    // work goes on where its client is gone.
    let turn = site.turn.clone().lock_owned().await;
    let (tables, name) = (site.tables.clone(), table.clone());
    let done = tasks::blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(|text| &**text).collect();
        let done = tables.act(&name, &action, &arguments);
        drop(turn);
        done
    });
    match done.await.unwrap_or_else(|| Err("the action did not come to its end".to_owned())) {
        Ok(done) => Json(json!({ "done": done })).into_response(),
        Err(why) if site.tables.find(&table).is_none() => refuse(StatusCode::NOT_FOUND, &why),
        Err(why) => refuse(StatusCode::CONFLICT, &why),
    }
}

/// An error as JSON.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

impl View {
    fn parse(wishes: &[(String, String)]) -> Result<Self, String> {
        let mut view = Self { limit: ROWS, ..Self::default() };
        for (name, value) in wishes {
            match name.as_str() {
                "columns" => view.columns = value.split(',').map(str::to_owned).collect(),
                "filter" => view.filter = value.trim().to_lowercase(),
                "format" => view.format = Format::parse(value)?,
                "limit" | "tail" => {
                    view.limit = number(name, value)?.min(MOST_ROWS);
                    view.is_tail = name == "tail";
                }
                "present" => view.present = Some(value.clone()),
                "width" => view.width = number(name, value)?,
                other => {
                    let other: String = other.chars().take(32).collect();
                    let known = "columns, format, filter, limit, present, tail and width";
                    return Err(format!("'{other}' is not known; there are {known}"));
                }
            }
        }
        Ok(view)
    }

    fn render(&self, table: &dyn Table) -> Result<Response, String> {
        let mut rows = table.rows();
        let total = rows.len();
        if !self.filter.is_empty() {
            rows.retain(|row| render::row_contains(row, &self.filter));
        }
        if let Some(column) = &self.present {
            let place = table.columns().iter().position(|c| c.name == column);
            rows.retain(|row| place.is_some_and(|place| has_value(row, place)));
        }
        let matched = rows.len();
        if self.is_tail {
            rows.drain(..rows.len().saturating_sub(self.limit));
        }
        rows.truncate(self.limit);
        let (columns, rows) = self.choose(table, rows)?;
        Ok(match self.format {
            Format::Csv => {
                let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
                (kind, render::render_csv(&columns, &rows)).into_response()
            }
            Format::Text => {
                let mut text = render::render_table(&columns, &rows, self.width);
                if rows.len() < matched {
                    let (which, option) =
                        if self.is_tail { ("last", "--last") } else { ("first", "--limit") };
                    let shown = rows.len();
                    text +=
                        &format!("(the {which} {shown} of {matched} rows; {option} N for more)\n");
                }
                text.into_response()
            }
            Format::Json => {
                Json(as_json(table.name(), &columns, &rows, total, matched)).into_response()
            }
        })
    }

    /// The columns that are wanted, and the rows cut to them.
    fn choose(&self, table: &dyn Table, rows: Vec<Row>) -> Result<(Vec<Column>, Vec<Row>), String> {
        let all = table.columns();
        if self.columns.is_empty() {
            return Ok((all.to_vec(), rows));
        }
        let place = |name: &String| {
            let place = all.iter().position(|column| column.name == name);
            place.ok_or_else(|| {
                let name: String = name.chars().take(64).collect();
                format!("table `{}` has no column `{name}`", table.name())
            })
        };
        let places: Vec<usize> = self.columns.iter().map(place).collect::<Result<_, _>>()?;
        let columns = places.iter().filter_map(|place| all.get(*place).copied()).collect();
        let cut = |row: Row| places.iter().filter_map(|place| row.get(*place).cloned()).collect();
        Ok((columns, rows.into_iter().map(cut).collect()))
    }
}

impl Format {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("format is one of json, csv and text".into()),
        }
    }
}

fn has_value(row: &Row, place: usize) -> bool {
    let text = row.get(place).and_then(render::plain);
    text.is_some_and(|text| !text.is_empty())
}

fn number(name: &str, text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{name} is a number of 0 or more"))
}

fn as_json(table: &str, columns: &[Column], rows: &[Row], total: usize, matched: usize) -> Json_ {
    json!({
        "table": table,
        "columns": columns.iter().map(|column| column.name).collect::<Vec<_>>(),
        "rows": rows.iter().map(|row| render::row_to_json(columns, row)).collect::<Vec<_>>(),
        "total": total,
        "matched": matched,
        "truncated": rows.len() < matched,
    })
}

fn describe(table: &dyn Table) -> Json_ {
    let column = |column: &Column| {
        json!({
            "name": column.name,
            "doc": column.doc,
            "type": match column.kind {
                Kind::Integer => "integer",
                Kind::Real => "real",
                Kind::Text => "text",
            },
            "metric": match column.metric {
                Metric::Counter | Metric::Gauge | Metric::State => {
                    render::metrics::metric_name(table.name(), column)
                }
                Metric::Label | Metric::None => None,
            },
        })
    };
    let action = |action: &Action| json!({ "name": action.name, "arguments": action.arguments, "doc": action.doc });
    json!({
        "name": table.name(),
        "doc": table.doc(),
        "columns": table.columns().iter().map(column).collect::<Vec<_>>(),
        "actions": table.actions().iter().map(action).collect::<Vec<_>>(),
    })
}

/// The arguments of an action; numbers are taken as they are written.
fn arguments(body: &Json_) -> Option<Vec<String>> {
    let Some(given) = body.get("arguments") else {
        return body.as_object().filter(|body| body.is_empty()).map(|_| Vec::new());
    };
    let texts = given.as_array()?.iter().map(|argument| match argument {
        Json_::String(text) => Some(text.clone()),
        Json_::Number(number) => Some(number.to_string()),
        _ => None,
    });
    texts.collect()
}
