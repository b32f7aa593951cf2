//! The words that matter, and what a call of each does.

/// Words with a meaning of their own to the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kw {
    /// A name, or no word at all.
    #[default]
    Other,
    Alter,
    Analyze,
    And,
    As,
    Autocommit,
    Backup,
    Begin,
    Binlog,
    Cache,
    CalcFoundRows,
    Call,
    Chain,
    Change,
    Charset,
    Check,
    Checksum,
    Clone,
    Commit,
    Connection,
    Count,
    Create,
    CurrentTime,
    Data,
    Database,
    Deallocate,
    Default,
    Delete,
    Describe,
    Diagnostics,
    Do,
    Drop,
    Event,
    Execute,
    Flush,
    For,
    Format,
    From,
    Full,
    Function,
    Get,
    Global,
    Grant,
    Handler,
    Hard,
    Help,
    Id,
    If,
    Immediate,
    Import,
    In,
    Index,
    Infile,
    Insert,
    Install,
    Instance,
    Into,
    Kill,
    LexVariable,
    Limit,
    Listing,
    Load,
    Local,
    Lock,
    Loop,
    Master,
    Mode,
    Next,
    No,
    Not,
    OddRows,
    Of,
    Only,
    Optimize,
    Package,
    Password,
    Persist,
    Plain,
    Prepare,
    Previous,
    Procedure,
    Purge,
    Query,
    Read,
    Recursive,
    Release,
    Rename,
    Repair,
    Repeat,
    Replace,
    Reset,
    Restart,
    Revoke,
    Role,
    Rollback,
    Row,
    Savepoint,
    Select,
    ServerSchema,
    Session,
    Set,
    Share,
    Show,
    Shutdown,
    Signal,
    Slave,
    Soft,
    Start,
    Statement,
    Status,
    Stop,
    System,
    Table,
    Tables,
    Temporary,
    To,
    Transaction,
    Trigger,
    Truncate,
    Uninstall,
    Unlock,
    Update,
    Use,
    User,
    Value,
    Values,
    Warnings,
    Where,
    With,
    Work,
    Write,
    Xa,
    Xml,
}

/// What `word(` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Call {
    /// Whether a named lock is taken on that server.
    AsksLock,
    /// Behind a path it opens the columns of a `JSON_TABLE`; elsewhere a name as any.
    Columns,
    ConnectionId,
    FoundRows,
    LastInsertId,
    /// [`Call::NamedOption`] of MariaDB.
    MariaDbOption,
    /// MariaDB's keyword; elsewhere a name as any.
    MariaDbSyntax,
    /// MySQL's keyword; elsewhere a name as any.
    MySqlSyntax,
    NamedLock,
    /// Directly behind SELECT or its options one of them; elsewhere a name as any.
    NamedOption,
    /// A keyword that may stand between SELECT and what it selects.
    Option,
    Pure,
    ReleaseLock,
    RowCount,
    Sequence,
    SideEffect,
    /// Not a call: a keyword before a parenthesis.
    Syntax,
    /// Not built in.
    #[default]
    Unknown,
    /// Harmless, but another answer each time.
    Varying,
}

const SLOTS: usize = 2048;
const LONGEST: usize = 40;
static TABLE: [u16; SLOTS] = build();
static ENTRIES: [Entry; WORDS.len()] = entries();

/// A word as it is compared: up to 16 bytes by two numbers.
#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    kw: Kw,
    call: Call,
}

/// The first and the last eight bytes of a word in one case (or all of fewer), and its length.
///
/// Bit 5 folds letters. Of the other bytes of names none becomes a letter, a digit or another by it,
/// so that equal keys are equal words up to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    length: usize,
}

const FOLD: u64 = 0x2020_2020_2020_2020;

impl Key {
    #[inline]
    const fn of(word: &[u8]) -> Self {
        let length = word.len();
        let (first, last) = match (word.first_chunk::<8>(), word.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => match (word.first_chunk::<4>(), word.last_chunk::<4>()) {
                (Some(first), Some(last)) => {
                    let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
                    (first as u64 | (last as u64) << 32, 0)
                }
                _ => match word {
                    [a, b, c] => (*a as u64 | (*b as u64) << 8 | (*c as u64) << 16, 0),
                    [a, b] => (*a as u64 | (*b as u64) << 8, 0),
                    _ => (0, 0),
                },
            },
        };
        Self { first: first | FOLD, last: last | FOLD, length }
    }

    #[inline]
    const fn slot(self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(23) ^ self.length as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as usize
    }
}

/// Looks a word up, whatever its case.
#[inline]
pub(super) fn lookup(word: &[u8]) -> (Kw, Call) {
    const NAME: (Kw, Call) = (Kw::Other, Call::Unknown);
    if word.len() < 2 || word.len() > LONGEST {
        return NAME;
    }
    let key = Key::of(word);
    let mut slot = key.slot();
    loop {
        let entry = usize::from(TABLE.get(slot).copied().unwrap_or(0));
        let Some(found) = entry.checked_sub(1).and_then(|i| ENTRIES.get(i)) else {
            return NAME;
        };
        if found.key == key && (word.len() <= 16 || is_entry(entry, word)) {
            return (found.kw, found.call);
        }
        slot = (slot + 1) % SLOTS;
    }
}

#[cold]
fn is_entry(entry: usize, word: &[u8]) -> bool {
    entry
        .checked_sub(1)
        .and_then(|i| WORDS.get(i))
        .is_some_and(|(text, ..)| text.as_bytes().eq_ignore_ascii_case(word))
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn entries() -> [Entry; WORDS.len()] {
    let mut entries =
        [Entry { key: Key::of(b""), kw: Kw::Other, call: Call::Unknown }; WORDS.len()];
    let mut i = 0;
    while i < WORDS.len() {
        let (text, kw, call) = WORDS[i];
        entries[i] = Entry { key: Key::of(text.as_bytes()), kw, call };
        i += 1;
    }
    entries
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 65,536 words")]
const fn build() -> [u16; SLOTS] {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < WORDS.len() {
        let mut slot = Key::of(WORDS[i].0.as_bytes()).slot();
        while table[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u16 + 1;
        i += 1;
    }
    table
}

#[rustfmt::skip]
const WORDS: &[(&str, Kw, Call)] = &[
    ("abs", Kw::Plain, Call::Pure), ("acos", Kw::Plain, Call::Pure),
    ("adddate", Kw::Plain, Call::Pure), ("addtime", Kw::Plain, Call::Pure),
    ("aes_decrypt", Kw::Plain, Call::Pure), ("aes_encrypt", Kw::Plain, Call::Pure),
    ("against", Kw::Plain, Call::Syntax), ("all", Kw::Plain, Call::Option),
    ("alter", Kw::Alter, Call::Unknown), ("analyze", Kw::Analyze, Call::Syntax),
    ("and", Kw::And, Call::Syntax), ("any", Kw::Plain, Call::Syntax),
    ("any_value", Kw::Plain, Call::Pure), ("as", Kw::As, Call::Syntax),
    ("ascii", Kw::Plain, Call::Pure), ("asin", Kw::Plain, Call::Pure),
    ("atan", Kw::Plain, Call::Pure), ("atan2", Kw::Plain, Call::Pure),
    ("autocommit", Kw::Autocommit, Call::Unknown), ("avg", Kw::Plain, Call::Pure),
    ("backup", Kw::Backup, Call::Unknown), ("begin", Kw::Begin, Call::Unknown),
    ("benchmark", Kw::Plain, Call::Varying), ("between", Kw::Plain, Call::Syntax),
    ("bigint", Kw::Plain, Call::Syntax), ("bin", Kw::Plain, Call::Pure),
    ("bin_to_uuid", Kw::Plain, Call::Pure), ("binary", Kw::Plain, Call::Syntax),
    ("binlog", Kw::Binlog, Call::Unknown), ("bit_and", Kw::Plain, Call::Pure),
    ("bit", Kw::Other, Call::Syntax),
    ("bit_count", Kw::Plain, Call::Pure), ("bit_length", Kw::Plain, Call::Pure),
    ("bit_or", Kw::Plain, Call::Pure), ("bit_xor", Kw::Plain, Call::Pure),
    ("blob", Kw::Other, Call::Syntax), ("both", Kw::Other, Call::Syntax),
    ("by", Kw::Plain, Call::Syntax), ("cache", Kw::Cache, Call::Unknown),
    ("call", Kw::Call, Call::Unknown), ("case", Kw::Plain, Call::Syntax),
    ("cast", Kw::Plain, Call::Pure), ("ceil", Kw::Plain, Call::Pure),
    ("ceiling", Kw::Plain, Call::Pure), ("chain", Kw::Chain, Call::Unknown),
    ("change", Kw::Change, Call::Unknown), ("char", Kw::Plain, Call::Syntax),
    ("char_length", Kw::Plain, Call::Pure), ("character", Kw::Charset, Call::Syntax),
    ("character_length", Kw::Plain, Call::Pure),
    ("character_set_client", Kw::LexVariable, Call::Unknown), ("charset", Kw::Charset, Call::Pure),
    ("check", Kw::Check, Call::Unknown), ("checksum", Kw::Checksum, Call::Unknown),
    ("chr", Kw::Plain, Call::Pure), ("clone", Kw::Clone, Call::Unknown),
    ("coalesce", Kw::Plain, Call::Pure), ("coercibility", Kw::Plain, Call::Pure),
    ("collate", Kw::Plain, Call::Syntax), ("collation", Kw::Listing, Call::Pure),
    ("collation_connection", Kw::LexVariable, Call::Unknown),
    ("column_add", Kw::Plain, Call::Pure), ("column_check", Kw::Plain, Call::Pure),
    ("column_create", Kw::Plain, Call::Pure), ("column_delete", Kw::Plain, Call::Pure),
    ("column_exists", Kw::Plain, Call::Pure), ("column_get", Kw::Plain, Call::Pure),
    ("column_json", Kw::Plain, Call::Pure), ("column_list", Kw::Plain, Call::Pure),
    ("columns", Kw::Listing, Call::Columns), ("commit", Kw::Commit, Call::Unknown),
    ("compress", Kw::Plain, Call::Pure), ("concat", Kw::Plain, Call::Pure),
    ("concat_ws", Kw::Plain, Call::Pure), ("connection", Kw::Connection, Call::Unknown),
    ("connection_id", Kw::Plain, Call::ConnectionId), ("constraint", Kw::Plain, Call::Syntax),
    ("contains", Kw::Plain, Call::Pure), ("conv", Kw::Plain, Call::Pure),
    ("convert", Kw::Plain, Call::Pure), ("convert_tz", Kw::Plain, Call::Pure),
    ("cos", Kw::Plain, Call::Pure), ("cot", Kw::Plain, Call::Pure),
    ("count", Kw::Count, Call::Pure), ("crc32", Kw::Plain, Call::Pure),
    ("crc32c", Kw::Plain, Call::Pure), ("create", Kw::Create, Call::Unknown),
    ("cross", Kw::Plain, Call::Syntax), ("cume_dist", Kw::Plain, Call::Pure),
    ("cube", Kw::Other, Call::MySqlSyntax),
    ("curdate", Kw::Plain, Call::Varying), ("current_date", Kw::CurrentTime, Call::Varying),
    ("current_role", Kw::Plain, Call::Varying), ("current_time", Kw::CurrentTime, Call::Varying),
    ("current_timestamp", Kw::CurrentTime, Call::Varying),
    ("current_user", Kw::Plain, Call::Varying), ("curtime", Kw::Plain, Call::Varying),
    ("data", Kw::Data, Call::Unknown), ("database", Kw::Database, Call::Pure),
    ("databases", Kw::Listing, Call::Unknown), ("date", Kw::Plain, Call::Pure),
    ("date_add", Kw::Plain, Call::Pure), ("date_format", Kw::Plain, Call::Pure),
    ("date_sub", Kw::Plain, Call::Pure), ("datediff", Kw::Plain, Call::Pure),
    ("datetime", Kw::Other, Call::Syntax),
    ("day", Kw::Plain, Call::Pure), ("dayname", Kw::Plain, Call::Pure),
    ("dayofmonth", Kw::Plain, Call::Pure), ("dayofweek", Kw::Plain, Call::Pure),
    ("dayofyear", Kw::Plain, Call::Pure), ("deallocate", Kw::Deallocate, Call::Unknown),
    ("dec", Kw::Plain, Call::Syntax), ("decimal", Kw::Plain, Call::Syntax),
    ("declare", Kw::Loop, Call::Unknown), ("decode", Kw::Plain, Call::Pure),
    ("decode_oracle", Kw::Plain, Call::Pure), ("default", Kw::Default, Call::Pure),
    ("degrees", Kw::Plain, Call::Pure), ("delete", Kw::Delete, Call::Unknown),
    ("dense_rank", Kw::Plain, Call::Pure), ("desc", Kw::Describe, Call::Syntax),
    ("describe", Kw::Describe, Call::Syntax), ("diagnostics", Kw::Diagnostics, Call::Unknown),
    ("distinct", Kw::Plain, Call::Option), ("distinctrow", Kw::Plain, Call::Option),
    ("div", Kw::Plain, Call::Syntax), ("do", Kw::Do, Call::Syntax),
    ("double", Kw::Plain, Call::Syntax), ("drop", Kw::Drop, Call::Unknown),
    ("dumpfile", Kw::Plain, Call::Unknown), ("else", Kw::Plain, Call::Syntax),
    ("elt", Kw::Plain, Call::Pure), ("encode", Kw::Plain, Call::Pure),
    ("end", Kw::Plain, Call::Syntax), ("engines", Kw::Listing, Call::Unknown),
    ("enum", Kw::Other, Call::Syntax),
    ("errors", Kw::Warnings, Call::Unknown), ("escape", Kw::Plain, Call::Syntax),
    ("event", Kw::Event, Call::Unknown), ("events", Kw::Listing, Call::Unknown),
    ("except", Kw::OddRows, Call::Syntax), ("execute", Kw::Execute, Call::Unknown),
    ("examined", Kw::OddRows, Call::Unknown), ("exists", Kw::Plain, Call::Syntax), ("exp", Kw::Plain, Call::Pure),
    ("explain", Kw::Describe, Call::Syntax), ("export_set", Kw::Plain, Call::Pure),
    ("extended", Kw::Full, Call::Unknown), ("extract", Kw::Plain, Call::Pure),
    ("extractvalue", Kw::Plain, Call::Pure), ("field", Kw::Plain, Call::Pure),
    ("fields", Kw::Listing, Call::Unknown), ("find_in_set", Kw::Plain, Call::Pure),
    ("first_value", Kw::Plain, Call::Pure), ("float", Kw::Plain, Call::Syntax),
    ("fixed", Kw::Other, Call::Syntax), ("float4", Kw::Other, Call::Syntax),
    ("float8", Kw::Other, Call::Syntax),
    ("floor", Kw::Plain, Call::Pure), ("flush", Kw::Flush, Call::Unknown),
    ("for", Kw::For, Call::Syntax), ("force", Kw::Plain, Call::Syntax),
    ("foreign", Kw::Plain, Call::Syntax), ("format", Kw::Format, Call::Pure),
    ("format_bytes", Kw::Plain, Call::Pure), ("format_pico_time", Kw::Plain, Call::Pure),
    ("found_rows", Kw::Plain, Call::FoundRows), ("from", Kw::From, Call::Syntax),
    ("from_base64", Kw::Plain, Call::Pure), ("from_days", Kw::Plain, Call::Pure),
    ("from_unixtime", Kw::Plain, Call::Pure), ("full", Kw::Full, Call::Unknown),
    ("function", Kw::Function, Call::Unknown), ("geomcollection", Kw::Plain, Call::Pure),
    ("geometrycollection", Kw::Plain, Call::Pure), ("geometryn", Kw::Plain, Call::Pure),
    ("get", Kw::Get, Call::Unknown), ("get_format", Kw::Plain, Call::Pure),
    ("get_lock", Kw::Plain, Call::NamedLock), ("global", Kw::Global, Call::Unknown),
    ("grant", Kw::Grant, Call::Unknown), ("grants", Kw::Listing, Call::Unknown),
    ("greatest", Kw::Plain, Call::Pure), ("group", Kw::Plain, Call::Syntax),
    ("group_concat", Kw::Plain, Call::Pure), ("group_replication", Kw::Slave, Call::Unknown),
    ("grouping", Kw::Plain, Call::Pure), ("handler", Kw::Handler, Call::Unknown),
    ("hard", Kw::Hard, Call::Unknown), ("having", Kw::Plain, Call::Syntax),
    ("help", Kw::Help, Call::Unknown), ("hex", Kw::Plain, Call::Pure),
    ("high_priority", Kw::Other, Call::Option),
    ("hour", Kw::Plain, Call::Pure), ("id", Kw::Id, Call::Unknown), ("if", Kw::If, Call::Pure),
    ("ifnull", Kw::Plain, Call::Pure), ("ignore", Kw::Plain, Call::Syntax),
    ("immediate", Kw::Immediate, Call::Unknown), ("import", Kw::Import, Call::Unknown),
    ("in", Kw::In, Call::Syntax), ("index", Kw::Index, Call::Syntax),
    ("indexes", Kw::Listing, Call::Unknown), ("inet6_aton", Kw::Plain, Call::Pure),
    ("inet6_ntoa", Kw::Plain, Call::Pure), ("inet_aton", Kw::Plain, Call::Pure),
    ("inet_ntoa", Kw::Plain, Call::Pure), ("infile", Kw::Infile, Call::Unknown),
    ("inner", Kw::Plain, Call::Syntax), ("insert", Kw::Insert, Call::Pure),
    ("install", Kw::Install, Call::Unknown), ("instance", Kw::Instance, Call::Unknown),
    ("instr", Kw::Plain, Call::Pure), ("int", Kw::Plain, Call::Syntax),
    ("int1", Kw::Other, Call::Syntax), ("int2", Kw::Other, Call::Syntax),
    ("int3", Kw::Other, Call::Syntax), ("int4", Kw::Other, Call::Syntax),
    ("int8", Kw::Other, Call::Syntax),
    ("integer", Kw::Plain, Call::Syntax), ("intersect", Kw::OddRows, Call::Syntax),
    ("interval", Kw::Plain, Call::Syntax), ("into", Kw::Into, Call::Unknown),
    ("is", Kw::Plain, Call::Syntax), ("is_free_lock", Kw::Plain, Call::AsksLock),
    ("is_ipv4", Kw::Plain, Call::Pure), ("is_ipv4_compat", Kw::Plain, Call::Pure),
    ("is_ipv4_mapped", Kw::Plain, Call::Pure), ("is_ipv6", Kw::Plain, Call::Pure),
    ("is_used_lock", Kw::Plain, Call::AsksLock), ("is_uuid", Kw::Plain, Call::Pure),
    ("isnull", Kw::Plain, Call::Pure), ("join", Kw::Plain, Call::Syntax),
    ("json_array", Kw::Plain, Call::Pure), ("json_array_append", Kw::Plain, Call::Pure),
    ("json_array_insert", Kw::Plain, Call::Pure), ("json_arrayagg", Kw::Plain, Call::Pure),
    ("json_compact", Kw::Plain, Call::Pure), ("json_contains", Kw::Plain, Call::Pure),
    ("json_contains_path", Kw::Plain, Call::Pure), ("json_depth", Kw::Plain, Call::Pure),
    ("json_detailed", Kw::Plain, Call::Pure), ("json_equals", Kw::Plain, Call::Pure),
    ("json_exists", Kw::Plain, Call::Pure), ("json_extract", Kw::Plain, Call::Pure),
    ("json_insert", Kw::Plain, Call::Pure), ("json_keys", Kw::Plain, Call::Pure),
    ("json_length", Kw::Plain, Call::Pure), ("json_loose", Kw::Plain, Call::Pure),
    ("json_merge", Kw::Plain, Call::Pure), ("json_merge_patch", Kw::Plain, Call::Pure),
    ("json_merge_preserve", Kw::Plain, Call::Pure), ("json_normalize", Kw::Plain, Call::Pure),
    ("json_object", Kw::Plain, Call::Pure), ("json_objectagg", Kw::Plain, Call::Pure),
    ("json_overlaps", Kw::Plain, Call::Pure), ("json_pretty", Kw::Plain, Call::Pure),
    ("json_query", Kw::Plain, Call::Pure), ("json_quote", Kw::Plain, Call::Pure),
    ("json_remove", Kw::Plain, Call::Pure), ("json_replace", Kw::Plain, Call::Pure),
    ("json_schema_valid", Kw::Plain, Call::Pure), ("json_search", Kw::Plain, Call::Pure),
    ("json_set", Kw::Plain, Call::Pure), ("json_storage_free", Kw::Plain, Call::Pure),
    ("json_storage_size", Kw::Plain, Call::Pure), ("json_table", Kw::Plain, Call::Pure),
    ("json_type", Kw::Plain, Call::Pure), ("json_unquote", Kw::Plain, Call::Pure),
    ("json_valid", Kw::Plain, Call::Pure), ("json_value", Kw::Plain, Call::Pure),
    ("kdf", Kw::Plain, Call::Pure), ("key", Kw::Index, Call::Syntax),
    ("keys", Kw::Index, Call::Syntax), ("kill", Kw::Kill, Call::Unknown),
    ("lag", Kw::Plain, Call::Pure), ("last_day", Kw::Plain, Call::Pure),
    ("last_insert_id", Kw::Plain, Call::LastInsertId), ("last_value", Kw::Plain, Call::Pure),
    ("lastval", Kw::Plain, Call::Sequence), ("lateral", Kw::Plain, Call::Syntax),
    ("lcase", Kw::Plain, Call::Pure), ("lead", Kw::Plain, Call::Pure),
    ("leading", Kw::Other, Call::Syntax),
    ("least", Kw::Plain, Call::Pure), ("left", Kw::Plain, Call::Pure),
    ("length", Kw::Plain, Call::Pure), ("lengthb", Kw::Plain, Call::Pure),
    ("like", Kw::Plain, Call::Syntax), ("limit", Kw::Limit, Call::Syntax),
    ("linestring", Kw::Plain, Call::Pure), ("ln", Kw::Plain, Call::Pure),
    ("load", Kw::Load, Call::Unknown), ("load_file", Kw::ServerSchema, Call::Pure),
    ("local", Kw::Local, Call::Unknown), ("localtime", Kw::CurrentTime, Call::Varying),
    ("localtimestamp", Kw::CurrentTime, Call::Varying), ("locate", Kw::Plain, Call::Pure),
    ("lock", Kw::Lock, Call::Unknown), ("log", Kw::Plain, Call::Pure),
    ("log10", Kw::Plain, Call::Pure), ("log2", Kw::Plain, Call::Pure),
    ("long", Kw::Other, Call::Syntax), ("longblob", Kw::Other, Call::Syntax),
    ("longtext", Kw::Other, Call::Syntax),
    ("loop", Kw::Loop, Call::Unknown), ("lower", Kw::Plain, Call::Pure),
    ("low_priority", Kw::Other, Call::Syntax),
    ("lpad", Kw::Plain, Call::Pure), ("ltrim", Kw::Plain, Call::Pure),
    ("make_set", Kw::Plain, Call::Pure), ("makedate", Kw::Plain, Call::Pure),
    ("maketime", Kw::Plain, Call::Pure), ("master", Kw::Master, Call::Unknown),
    ("master_gtid_wait", Kw::Plain, Call::SideEffect),
    ("master_pos_wait", Kw::Plain, Call::SideEffect), ("match", Kw::Plain, Call::Syntax),
    ("max", Kw::Plain, Call::Pure), ("mbrcontains", Kw::Plain, Call::Pure),
    ("mbrcovers", Kw::Plain, Call::Pure), ("mbrequals", Kw::Plain, Call::Pure),
    ("mbrintersects", Kw::Plain, Call::Pure), ("mbrwithin", Kw::Plain, Call::Pure),
    ("md5", Kw::Plain, Call::Pure), ("median", Kw::Plain, Call::Pure),
    ("mediumblob", Kw::Other, Call::Syntax),
    ("mediumint", Kw::Plain, Call::Syntax), ("member", Kw::Plain, Call::Pure),
    ("mediumtext", Kw::Other, Call::Syntax),
    ("microsecond", Kw::Plain, Call::Pure), ("mid", Kw::Plain, Call::Pure),
    ("middleint", Kw::Other, Call::Syntax),
    ("min", Kw::Plain, Call::Pure), ("minus", Kw::OddRows, Call::Syntax),
    ("minute", Kw::Plain, Call::Pure), ("mod", Kw::Plain, Call::Pure),
    ("mode", Kw::Mode, Call::Unknown), ("month", Kw::Plain, Call::Pure),
    ("monthname", Kw::Plain, Call::Pure), ("multilinestring", Kw::Plain, Call::Pure),
    ("multipoint", Kw::Plain, Call::Pure), ("multipolygon", Kw::Plain, Call::Pure),
    ("name_const", Kw::Plain, Call::Pure), ("natural", Kw::Plain, Call::Syntax),
    ("natural_sort_key", Kw::Plain, Call::Pure), ("nchar", Kw::Plain, Call::Syntax),
    ("next", Kw::Next, Call::Unknown), ("nextval", Kw::Plain, Call::Sequence),
    ("no", Kw::No, Call::Unknown), ("not", Kw::Not, Call::Syntax),
    ("now", Kw::Plain, Call::Varying), ("nth_value", Kw::Plain, Call::Pure),
    ("ntile", Kw::Plain, Call::Pure), ("nullif", Kw::Plain, Call::Pure),
    ("numeric", Kw::Plain, Call::Syntax), ("nvarchar", Kw::Plain, Call::Syntax),
    ("nvl", Kw::Plain, Call::Pure), ("nvl2", Kw::Plain, Call::Pure),
    ("oct", Kw::Plain, Call::Pure), ("octet_length", Kw::Plain, Call::Pure),
    ("of", Kw::Of, Call::Syntax), ("offset", Kw::OddRows, Call::Unknown), ("on", Kw::Plain, Call::Syntax),
    ("only", Kw::Only, Call::Unknown), ("optimize", Kw::Optimize, Call::Unknown),
    ("or", Kw::Plain, Call::Syntax), ("ord", Kw::Plain, Call::Pure),
    ("order", Kw::Plain, Call::Syntax), ("outer", Kw::Plain, Call::Syntax),
    ("outfile", Kw::Plain, Call::Unknown), ("over", Kw::Plain, Call::Syntax),
    ("package", Kw::Package, Call::Unknown), ("partition", Kw::Plain, Call::Syntax),
    ("password", Kw::Password, Call::Pure), ("percent_rank", Kw::Plain, Call::Pure),
    ("percentile_cont", Kw::Plain, Call::Pure), ("percentile_disc", Kw::Plain, Call::Pure),
    ("performance_schema", Kw::ServerSchema, Call::Unknown), ("period_add", Kw::Plain, Call::Pure),
    ("period_diff", Kw::Plain, Call::Pure), ("persist", Kw::Persist, Call::Unknown),
    ("persist_only", Kw::Persist, Call::Unknown), ("pi", Kw::Plain, Call::Pure),
    ("point", Kw::Plain, Call::Pure), ("polygon", Kw::Plain, Call::Pure),
    ("position", Kw::Plain, Call::Pure), ("pow", Kw::Plain, Call::Pure),
    ("power", Kw::Plain, Call::Pure), ("prepare", Kw::Prepare, Call::Unknown),
    ("precision", Kw::Other, Call::Syntax),
    ("previous", Kw::Previous, Call::Unknown), ("previous_value", Kw::Plain, Call::Sequence),
    ("primary", Kw::Plain, Call::Syntax), ("privileges", Kw::Listing, Call::Unknown),
    ("procedure", Kw::Procedure, Call::Unknown), ("processlist", Kw::ServerSchema, Call::Unknown),
    ("profile", Kw::Warnings, Call::Unknown), ("profiles", Kw::Warnings, Call::Unknown),
    ("purge", Kw::Purge, Call::Unknown), ("quarter", Kw::Plain, Call::Pure),
    ("query", Kw::Query, Call::Unknown), ("quote", Kw::Plain, Call::Pure),
    ("radians", Kw::Plain, Call::Pure), ("rand", Kw::Plain, Call::Varying),
    ("random_bytes", Kw::Plain, Call::Varying), ("rank", Kw::Plain, Call::Pure),
    ("read", Kw::Read, Call::Unknown), ("real", Kw::Plain, Call::Syntax),
    ("recursive", Kw::Recursive, Call::Syntax), ("references", Kw::Plain, Call::Syntax),
    ("regexp", Kw::Plain, Call::Syntax), ("regexp_instr", Kw::Plain, Call::Pure),
    ("regexp_like", Kw::Plain, Call::Pure), ("regexp_replace", Kw::Plain, Call::Pure),
    ("regexp_substr", Kw::Plain, Call::Pure), ("release", Kw::Release, Call::Unknown),
    ("release_all_locks", Kw::Plain, Call::ReleaseLock),
    ("release_lock", Kw::Plain, Call::ReleaseLock), ("rename", Kw::Rename, Call::Unknown),
    ("repair", Kw::Repair, Call::Unknown), ("repeat", Kw::Repeat, Call::Pure),
    ("replace", Kw::Replace, Call::Pure), ("replica", Kw::Slave, Call::Unknown),
    ("replication", Kw::Slave, Call::Unknown), ("reset", Kw::Reset, Call::Unknown),
    ("resignal", Kw::Signal, Call::Unknown), ("restart", Kw::Restart, Call::Unknown),
    ("returning", Kw::Other, Call::MariaDbSyntax),
    ("reverse", Kw::Plain, Call::Pure), ("revoke", Kw::Revoke, Call::Unknown),
    ("right", Kw::Plain, Call::Pure), ("rlike", Kw::Plain, Call::Syntax),
    ("role", Kw::Role, Call::Unknown), ("rollback", Kw::Rollback, Call::Unknown),
    ("rollup", Kw::Other, Call::MySqlSyntax),
    ("round", Kw::Plain, Call::Pure), ("row", Kw::Row, Call::Syntax),
    ("row_count", Kw::Plain, Call::RowCount), ("row_number", Kw::Plain, Call::Pure),
    ("rownum_", Kw::Plain, Call::Pure), ("rpad", Kw::Plain, Call::Pure),
    ("rtrim", Kw::Plain, Call::Pure), ("savepoint", Kw::Savepoint, Call::Unknown),
    ("schema", Kw::Database, Call::Pure), ("schemas", Kw::Listing, Call::Unknown),
    ("sec_to_time", Kw::Plain, Call::Pure), ("second", Kw::Plain, Call::Pure),
    ("select", Kw::Select, Call::Syntax), ("separator", Kw::Plain, Call::Syntax),
    ("session", Kw::Session, Call::Unknown), ("session_user", Kw::Plain, Call::Varying),
    ("set", Kw::Set, Call::Syntax), ("setval", Kw::Plain, Call::Sequence),
    ("sformat", Kw::Plain, Call::Pure), ("sha", Kw::Plain, Call::Pure),
    ("sha1", Kw::Plain, Call::Pure), ("sha2", Kw::Plain, Call::Pure),
    ("share", Kw::Share, Call::Unknown), ("show", Kw::Show, Call::Unknown),
    ("shutdown", Kw::Shutdown, Call::Unknown), ("sign", Kw::Plain, Call::Pure),
    ("signal", Kw::Signal, Call::Unknown), ("signed", Kw::Plain, Call::Syntax),
    ("sin", Kw::Plain, Call::Pure), ("slave", Kw::Slave, Call::Unknown),
    ("slaves", Kw::Slave, Call::Unknown), ("sleep", Kw::Plain, Call::Varying),
    ("smallint", Kw::Plain, Call::Syntax), ("soft", Kw::Soft, Call::Unknown),
    ("some", Kw::Plain, Call::Syntax), ("soundex", Kw::Plain, Call::Pure),
    ("source_pos_wait", Kw::Plain, Call::SideEffect), ("space", Kw::Plain, Call::Pure),
    ("sql_big_result", Kw::Other, Call::Option),
    ("sql_buffer_result", Kw::Other, Call::NamedOption),
    ("sql_cache", Kw::Other, Call::MariaDbOption),
    ("sql_calc_found_rows", Kw::CalcFoundRows, Call::Option),
    ("sql_mode", Kw::LexVariable, Call::Unknown), ("sqrt", Kw::Plain, Call::Pure),
    ("sql_no_cache", Kw::Other, Call::NamedOption), ("sql_small_result", Kw::Other, Call::Option),
    ("st_area", Kw::Plain, Call::Pure), ("st_asbinary", Kw::Plain, Call::Pure),
    ("st_asgeojson", Kw::Plain, Call::Pure), ("st_astext", Kw::Plain, Call::Pure),
    ("st_aswkb", Kw::Plain, Call::Pure), ("st_aswkt", Kw::Plain, Call::Pure),
    ("st_buffer", Kw::Plain, Call::Pure), ("st_centroid", Kw::Plain, Call::Pure),
    ("st_collect", Kw::Plain, Call::Pure), ("st_contains", Kw::Plain, Call::Pure),
    ("st_convexhull", Kw::Plain, Call::Pure), ("st_crosses", Kw::Plain, Call::Pure),
    ("st_difference", Kw::Plain, Call::Pure), ("st_dimension", Kw::Plain, Call::Pure),
    ("st_disjoint", Kw::Plain, Call::Pure), ("st_distance", Kw::Plain, Call::Pure),
    ("st_distance_sphere", Kw::Plain, Call::Pure), ("st_endpoint", Kw::Plain, Call::Pure),
    ("st_envelope", Kw::Plain, Call::Pure), ("st_equals", Kw::Plain, Call::Pure),
    ("st_exteriorring", Kw::Plain, Call::Pure), ("st_geohash", Kw::Plain, Call::Pure),
    ("st_geometryfromtext", Kw::Plain, Call::Pure), ("st_geometrytype", Kw::Plain, Call::Pure),
    ("st_geomfromgeojson", Kw::Plain, Call::Pure), ("st_geomfromtext", Kw::Plain, Call::Pure),
    ("st_geomfromwkb", Kw::Plain, Call::Pure), ("st_intersection", Kw::Plain, Call::Pure),
    ("st_intersects", Kw::Plain, Call::Pure), ("st_isclosed", Kw::Plain, Call::Pure),
    ("st_isempty", Kw::Plain, Call::Pure), ("st_issimple", Kw::Plain, Call::Pure),
    ("st_isvalid", Kw::Plain, Call::Pure), ("st_latfromgeohash", Kw::Plain, Call::Pure),
    ("st_latitude", Kw::Plain, Call::Pure), ("st_length", Kw::Plain, Call::Pure),
    ("st_linefromtext", Kw::Plain, Call::Pure), ("st_longfromgeohash", Kw::Plain, Call::Pure),
    ("st_longitude", Kw::Plain, Call::Pure), ("st_makeenvelope", Kw::Plain, Call::Pure),
    ("st_numgeometries", Kw::Plain, Call::Pure), ("st_numpoints", Kw::Plain, Call::Pure),
    ("st_overlaps", Kw::Plain, Call::Pure), ("st_pointfromgeohash", Kw::Plain, Call::Pure),
    ("st_pointfromtext", Kw::Plain, Call::Pure), ("st_pointn", Kw::Plain, Call::Pure),
    ("st_polygonfromtext", Kw::Plain, Call::Pure), ("st_simplify", Kw::Plain, Call::Pure),
    ("st_srid", Kw::Plain, Call::Pure), ("st_startpoint", Kw::Plain, Call::Pure),
    ("st_swapxy", Kw::Plain, Call::Pure), ("st_symdifference", Kw::Plain, Call::Pure),
    ("st_touches", Kw::Plain, Call::Pure), ("st_transform", Kw::Plain, Call::Pure),
    ("st_union", Kw::Plain, Call::Pure), ("st_validate", Kw::Plain, Call::Pure),
    ("st_within", Kw::Plain, Call::Pure), ("st_x", Kw::Plain, Call::Pure),
    ("st_y", Kw::Plain, Call::Pure), ("start", Kw::Start, Call::Unknown),
    ("statement", Kw::Statement, Call::Unknown), ("status", Kw::Status, Call::Unknown),
    ("std", Kw::Plain, Call::Pure), ("stddev", Kw::Plain, Call::Pure),
    ("stddev_pop", Kw::Plain, Call::Pure), ("stddev_samp", Kw::Plain, Call::Pure),
    ("stop", Kw::Stop, Call::Unknown), ("storage", Kw::Listing, Call::Unknown),
    ("str_to_date", Kw::Plain, Call::Pure), ("straight_join", Kw::Plain, Call::Option),
    ("strcmp", Kw::Plain, Call::Pure), ("subdate", Kw::Plain, Call::Pure),
    ("substr", Kw::Plain, Call::Pure), ("substring", Kw::Plain, Call::Pure),
    ("substring_index", Kw::Plain, Call::Pure), ("subtime", Kw::Plain, Call::Pure),
    ("sum", Kw::Plain, Call::Pure), ("sys_guid", Kw::Plain, Call::Varying),
    ("sysdate", Kw::Plain, Call::Varying), ("system", Kw::System, Call::Unknown),
    ("system_user", Kw::Plain, Call::Varying), ("table", Kw::Table, Call::Syntax),
    ("tables", Kw::Tables, Call::Unknown), ("tan", Kw::Plain, Call::Pure),
    ("temporary", Kw::Temporary, Call::Unknown), ("then", Kw::Plain, Call::Syntax),
    ("text", Kw::Other, Call::Syntax),
    ("time", Kw::Plain, Call::Pure), ("time_format", Kw::Plain, Call::Pure),
    ("time_to_sec", Kw::Plain, Call::Pure), ("timediff", Kw::Plain, Call::Pure),
    ("timestamp", Kw::Plain, Call::Pure), ("timestampadd", Kw::Plain, Call::Pure),
    ("timestampdiff", Kw::Plain, Call::Pure), ("tinyint", Kw::Plain, Call::Syntax),
    ("tinyblob", Kw::Other, Call::Syntax), ("tinytext", Kw::Other, Call::Syntax),
    ("to", Kw::To, Call::Syntax), ("to_base64", Kw::Plain, Call::Pure),
    ("to_char", Kw::Plain, Call::Pure), ("to_days", Kw::Plain, Call::Pure),
    ("to_number", Kw::Plain, Call::Pure), ("to_seconds", Kw::Plain, Call::Pure),
    ("to_timestamp", Kw::Plain, Call::Varying), ("transaction", Kw::Transaction, Call::Unknown),
    ("trailing", Kw::Other, Call::Syntax),
    ("trigger", Kw::Trigger, Call::Unknown), ("triggers", Kw::Listing, Call::Unknown),
    ("trim", Kw::Plain, Call::Pure), ("truncate", Kw::Truncate, Call::Pure),
    ("ucase", Kw::Plain, Call::Pure), ("uncompress", Kw::Plain, Call::Pure),
    ("uncompressed_length", Kw::Plain, Call::Pure), ("unhex", Kw::Plain, Call::Pure),
    ("uninstall", Kw::Uninstall, Call::Unknown), ("union", Kw::OddRows, Call::Syntax),
    ("unique", Kw::Plain, Call::Syntax), ("unix_timestamp", Kw::Plain, Call::Varying),
    ("unlock", Kw::Unlock, Call::Unknown), ("unsigned", Kw::Plain, Call::Syntax),
    ("update", Kw::Update, Call::Syntax), ("updatexml", Kw::Plain, Call::Pure),
    ("upper", Kw::Plain, Call::Pure), ("use", Kw::Use, Call::Syntax),
    ("user", Kw::User, Call::Varying), ("using", Kw::Plain, Call::Syntax),
    ("utc_date", Kw::CurrentTime, Call::Varying), ("utc_time", Kw::CurrentTime, Call::Varying),
    ("utc_timestamp", Kw::CurrentTime, Call::Varying), ("uuid", Kw::Plain, Call::Varying),
    ("uuid_short", Kw::Plain, Call::Varying), ("uuid_to_bin", Kw::Plain, Call::Pure),
    ("validate_password_strength", Kw::Plain, Call::Pure), ("value", Kw::Value, Call::Syntax),
    ("values", Kw::Values, Call::Syntax), ("var_pop", Kw::Plain, Call::Pure),
    ("var_samp", Kw::Plain, Call::Pure), ("varbinary", Kw::Plain, Call::Syntax),
    ("varchar", Kw::Plain, Call::Syntax), ("variance", Kw::Plain, Call::Pure),
    ("varcharacter", Kw::Other, Call::Syntax), ("varying", Kw::Other, Call::Syntax),
    ("version", Kw::Plain, Call::Pure), ("wait_for_executed_gtid_set", Kw::Plain, Call::SideEffect),
    ("wait_until_sql_thread_after_gtids", Kw::Plain, Call::SideEffect),
    ("warnings", Kw::Warnings, Call::Unknown), ("week", Kw::Plain, Call::Pure),
    ("weekday", Kw::Plain, Call::Pure), ("weekofyear", Kw::Plain, Call::Pure),
    ("weight_string", Kw::Plain, Call::Pure), ("when", Kw::Plain, Call::Syntax),
    ("where", Kw::Where, Call::Syntax), ("while", Kw::Loop, Call::Unknown),
    ("window", Kw::Plain, Call::Syntax), ("with", Kw::With, Call::Syntax),
    ("within", Kw::Plain, Call::Syntax), ("work", Kw::Work, Call::Unknown),
    ("write", Kw::Write, Call::Unknown), ("wsrep_last_seen_gtid", Kw::Plain, Call::ConnectionId),
    ("wsrep_last_written_gtid", Kw::Plain, Call::ConnectionId),
    ("wsrep_sync_wait_upto_gtid", Kw::Plain, Call::SideEffect), ("xa", Kw::Xa, Call::Unknown),
    ("xml", Kw::Xml, Call::Unknown), ("xor", Kw::Plain, Call::Syntax),
    ("year", Kw::Plain, Call::Pure), ("yearweek", Kw::Plain, Call::Pure),
];
