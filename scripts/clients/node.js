// Node's drivers through one set of cases: mysql2, mariadb, mysql.
'use strict';
const path = require('path');
const home = process.env.CLIENTS_HOME;
const name = process.argv[2];
// By name, from where the clients are installed: some packages can't be found by their folder.
const load = require('module').createRequire(path.join(home, 'clients.js'));
const driver = load(name === 'mysql2' ? 'mysql2/promise' : name);
const smoke = process.env.DB_SMOKE;
const base = {
  host: process.env.DB_HOST, port: +process.env.DB_PORT, user: process.env.DB_USER,
  password: process.env.DB_PASSWORD, database: process.env.DB_DATABASE,
};

const show = (value) => JSON.stringify(value, (k, v) => (typeof v === 'bigint' ? String(v) : v));
const line = (text) => String(text).replace(/\s+/g, ' ').slice(0, 400);

// One shape for the three: {query(sql, args), execute(sql, args), end(), raw}.
async function connect(more = {}) {
  if (name === 'mysql') {
    const raw = driver.createConnection({ ...base, ...more });
    await new Promise((ok, no) => raw.connect((e) => (e ? no(e) : ok())));
    raw.on('error', () => {});
    const query = (sql, args) => new Promise((ok, no) => raw.query(sql, args, (e, r) => (e ? no(e) : ok(r))));
    return { raw, query, execute: query, end: () => new Promise((ok) => raw.end(ok)) };
  }
  const raw = await driver.createConnection({ ...base, ...more });
  raw.on('error', () => {});
  if (name === 'mysql2') {
    return {
      raw, query: async (s, a) => (await raw.query(s, a))[0], execute: async (s, a) => (await raw.execute(s, a))[0],
      end: () => raw.end(),
    };
  }
  return { raw, query: (s, a) => raw.query(s, a), execute: (s, a) => raw.execute(s, a), end: () => raw.end() };
}

const multi = { multipleStatements: true };
const cases = {
  async text_and_prepared() {
    const c = await connect();
    await c.query('DROP TABLE IF EXISTS js_t');
    await c.query('CREATE TABLE js_t(a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(30), c DATETIME(3), d DECIMAL(10,2), e BIGINT, f BLOB)');
    const told = [];
    for (let n = 0; n < 5; n++) {
      const r = await c.execute('INSERT INTO js_t(b,c,d,e,f) VALUES (?,?,?,?,?)',
        ['n' + n, new Date(Date.UTC(2024, 1, n + 1)), '1.50', '9007199254740993', Buffer.from([n, 255])]);
      told.push(String(r.insertId), r.affectedRows);
    }
    const one = await c.execute('SELECT * FROM js_t WHERE a > ? ORDER BY a', [2]);
    const two = await c.query('SELECT * FROM js_t WHERE a > ? ORDER BY a', [2]);
    await c.end();
    return [told, one, two];
  },
  async same_statement_again_after_ddl() {
    const c = await connect();
    const seen = [];
    await c.query('DROP TABLE IF EXISTS js_d');
    await c.query('CREATE TABLE js_d(a INT)');
    await c.query('INSERT INTO js_d VALUES (1)');
    for (const ddl of ['DO 0', 'ALTER TABLE js_d ADD COLUMN b INT DEFAULT 5', 'ALTER TABLE js_d CHANGE a z VARCHAR(10)']) {
      await c.query(ddl);
      seen.push(await c.execute('SELECT * FROM js_d WHERE 1 = ?', [1]));
    }
    await c.end();
    return seen;
  },
  async two_commands_in_flight() {
    const c = await connect();
    const all = [];
    for (let n = 0; n < 60; n++) all.push(c.query('SELECT ? AS n', [n]), c.execute('SELECT ? AS m', [n]));
    const got = await Promise.all(all);
    await c.end();
    return got.map((rows) => Object.values(rows[0])[0]).join();
  },
  async writes_and_reads_in_flight() {
    const c = await connect();
    await c.query('DROP TABLE IF EXISTS js_w');
    await c.query('CREATE TABLE js_w(a INT)');
    const all = [];
    for (let n = 0; n < 40; n++) all.push(c.query('INSERT INTO js_w VALUES (?)', [n]), c.query('SELECT COUNT(*) AS n FROM js_w'));
    const got = await Promise.all(all);
    await c.end();
    return got.filter((_, at) => at % 2).map((rows) => Number(rows[0].n)).join();
  },
  async errors_in_flight() {
    const c = await connect();
    const all = [];
    for (let n = 0; n < 20; n++) all.push(c.query(n % 3 ? 'SELECT 1 AS n' : 'SELEKT').then((r) => r[0].n, (e) => e.errno));
    const got = await Promise.all(all);
    await c.end();
    return got;
  },
  async several_statements() {
    const c = await connect(multi);
    const got = await c.query("SET @a = 4; SELECT @a AS a; SELECT 'x' AS b, 2 AS c; DO 0");
    await c.end();
    return name === 'mariadb' ? got : got.map((g) => (Array.isArray(g) ? g : g.affectedRows));
  },
  async several_statements_not_allowed() {
    const c = await connect();
    const said = await c.query('SELECT 1; SELECT 2').catch((e) => [e.errno, e.sqlState]);
    await c.end();
    return said;
  },
  async procedure() {
    const c = await connect();
    await c.query('DROP PROCEDURE IF EXISTS js_p');
    await c.query("CREATE PROCEDURE js_p(IN n INT, OUT m INT) BEGIN SELECT n AS n; SELECT 'b' AS b; SET m = n + 1; END");
    const text = await c.query('CALL js_p(3, @m)');
    const out = await c.query('SELECT @m AS m');
    const binary = name === 'mysql' ? null : await c.execute('CALL js_p(?, @m)', [5]);
    const param = name === 'mariadb' ? await c.execute('CALL js_p(?, ?)', [5, null]) : null;
    await c.end();
    const plain = (sets) => sets && Array.from(sets).map((s) => (Array.isArray(s) ? s : s.affectedRows));
    return [plain(text), out, plain(binary), plain(param)];
  },
  async transaction() {
    const c = await connect();
    const d = await connect();
    await c.query('CREATE TABLE IF NOT EXISTS js_w(a INT)');
    await c.raw.beginTransaction(...(name === 'mysql' ? [() => {}] : []));
    await c.query("INSERT INTO js_w VALUES (1000)");
    const mine = await c.query('SELECT COUNT(*) AS n FROM js_w WHERE a = 1000');
    const others = await d.query('SELECT COUNT(*) AS n FROM js_w WHERE a = 1000');
    await c.query('ROLLBACK');
    const after = await c.query('SELECT COUNT(*) AS n FROM js_w WHERE a = 1000');
    await c.end(); await d.end();
    return [mine, others, after].map((r) => Number(r[0].n));
  },
  async change_user() {
    const c = await connect();
    await c.query('SET @x = 1');
    const to = { user: base.user, password: base.password, password1: base.password, database: 'mysql' };
    if (name === 'mysql') await new Promise((ok, no) => c.raw.changeUser(to, (e) => (e ? no(e) : ok())));
    else await c.raw.changeUser(to);
    const got = await c.query('SELECT @x AS x, DATABASE() AS d');
    await c.end();
    return got;
  },
  async wrong_logins() {
    const said = [];
    for (const more of [{ password: 'wrong' }, { user: 'nobody' }, { database: 'nosuch' }, { password: '' }]) {
      said.push(await connect(more).then((c) => (c.end(), 'in'), (e) => [e.errno, e.sqlState]));
    }
    return said;
  },
  async compressed() {
    if (name === 'mysql') return null;
    const c = await connect({ compress: true });
    const text = 'abc'.repeat(100000);
    const got = await c.query('SELECT ? AS t, LENGTH(?) AS n', [text, text]);
    const small = await c.query('SELECT 1 AS n');
    await c.end();
    return [got[0].t === text, got[0].n, small];
  },
  async long_packet() {
    const more = name === 'mariadb' ? { maxAllowedPacket: 64 << 20 } : {};
    const c = await connect(more);
    const text = 'z'.repeat((17 << 20));
    const got = await c.query('SELECT LENGTH(?) AS n', [text]);
    const back = await c.query("SELECT REPEAT('y', 17825792) AS t");
    await c.end();
    return [got, back[0].t.length];
  },
  async stream() {
    const c = await connect();
    const raw = name === 'mysql2' ? c.raw.connection : c.raw;
    const source = name === 'mariadb' ? raw.queryStream('SELECT seq FROM seq_1_to_5000') : raw.query('SELECT seq FROM seq_1_to_5000').stream({ objectMode: true });
    let sum = 0;
    const rows = name === 'mysql' ? new (require('stream').Readable)({ objectMode: true }).wrap(source) : source;
    for await (const row of rows) sum += Number(row.seq);
    await c.end();
    return sum;
  },
  async batch() {
    if (name !== 'mariadb') return null;
    const seen = [];
    for (const bulk of [true, false]) {
      const c = await connect({ bulk });
      await c.query('DROP TABLE IF EXISTS js_b');
      await c.query('CREATE TABLE js_b(a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(50), c INT)');
      const r = await c.raw.batch('INSERT INTO js_b(b, c) VALUES (?, ?)', Array.from({ length: 300 }, (_, n) => ['v' + n, n % 7 ? n : null]));
      seen.push(Array.isArray(r) ? r.length : r.affectedRows, await c.query('SELECT COUNT(*) AS n, SUM(c) AS s FROM js_b'));
      await c.end();
    }
    return seen;
  },
  async prepared_handle() {
    if (name !== 'mariadb') return null;
    const c = await connect();
    const s = await c.raw.prepare('SELECT a FROM js_t WHERE a > ? ORDER BY a');
    const got = await Promise.all([1, 2, 3].map((n) => s.execute([n])));
    s.close();
    await c.end();
    return got;
  },
  async reset() {
    const c = await connect();
    await c.query("SET @x = 9, time_zone = '+05:00'");
    if (c.raw.reset) await c.raw.reset();
    const got = await c.query('SELECT @x AS x, @@time_zone AS t');
    await c.end();
    return got;
  },
  async pool() {
    const pool = driver.createPool({ ...base, connectionLimit: 5 });
    const query = (s, a) => (name === 'mysql'
      ? new Promise((ok, no) => pool.query(s, a, (e, r) => (e ? no(e) : ok(r))))
      : name === 'mysql2' ? pool.query(s, a).then((r) => r[0]) : pool.query(s, a));
    const got = await Promise.all(Array.from({ length: 100 }, (_, n) => query('SELECT ? + 0 AS n', [n])));
    await (name === 'mysql' ? new Promise((ok) => pool.end(ok)) : pool.end());
    return got.every((rows, n) => Number(rows[0].n) === n);
  },
  async local_file() {
    const file = path.join(require('os').tmpdir(), `clients-${process.pid}.tsv`);
    require('fs').writeFileSync(file, Array.from({ length: 2000 }, (_, n) => n + '\n').join(''));
    const more = name === 'mysql2' ? { infileStreamFactory: () => require('fs').createReadStream(file), flags: ['+LOCAL_FILES'] }
      : name === 'mariadb' ? { permitLocalInfile: true } : {};
    const c = await connect(more);
    await c.query('DROP TABLE IF EXISTS js_l');
    await c.query('CREATE TABLE js_l(a INT)');
    const text = { sql: `LOAD DATA LOCAL INFILE '${file}' INTO TABLE js_l`, infileStreamFactory: () => require('fs').createReadStream(file) };
    await c.query(name === 'mysql2' ? text : text.sql);
    const got = await c.query('SELECT COUNT(*) AS n, SUM(a) AS s FROM js_l');
    await c.end();
    require('fs').unlinkSync(file);
    return got;
  },
  async ping() {
    const c = await connect();
    await (name === 'mysql' ? new Promise((ok, no) => c.raw.ping((e) => (e ? no(e) : ok()))) : c.raw.ping());
    await c.end();
    return 'pong';
  },
};
const smokes = new Set(['text_and_prepared', 'two_commands_in_flight', 'procedure', 'transaction', 'compressed', 'wrong_logins']);

(async () => {
  for (const [what, work] of Object.entries(cases)) {
    if (smoke && !smokes.has(what)) continue;
    let timer;
    const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error('no end within 20 s')), 20000); });
    try {
      console.log('ok ' + what + ' ' + line(show(await Promise.race([work(), late]))));
    } catch (e) {
      console.log('fail ' + what + ' ' + line(e.message) + (process.env.DB_TRACE ? e.stack : ''));
    }
    clearTimeout(timer);
  }
  process.exit(0);
})();
