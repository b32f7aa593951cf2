// What mysql2 documents beyond the cases that all of Node's drivers share (node.js).
'use strict';
const fs = require('fs');
const path = require('path');
const load = require('module').createRequire(path.join(process.env.CLIENTS_HOME, 'clients.js'));
const plain = load('mysql2');
const driver = load('mysql2/promise');
const direct = process.env.DB_WAY === 'direct';
const base = {
  host: process.env.DB_HOST, port: +process.env.DB_PORT, user: process.env.DB_USER,
  password: process.env.DB_PASSWORD, database: process.env.DB_DATABASE,
};
// Highgate has TLS at a listener of its own; the server at the same port.
const tlsPort = direct ? base.port : +process.env.PORT_CLIENTTLS;
const ca = () => fs.readFileSync(path.join(process.env.LAB, 'ca.pem'));

// Without what is told of session state, and the flag that says so: docs/differences.md.
const show = (value) => JSON.stringify(value, (k, v) => (k === 'stateChanges' ? undefined : k === 'serverStatus' ? v & ~0x4000 : typeof v === 'bigint' ? `${v}n`
  : v && v.type === 'Buffer' ? 'x' + Buffer.from(v.data).toString('hex') : v));
const line = (text) => String(text).replace(/\s+/g, ' ');
const digest = (text) => require('crypto').createHash('sha256').update(text).digest('hex').slice(0, 16);

async function within(more, work) {
  const c = await driver.createConnection({ ...base, ...more });
  try { return await work(c); } finally { c.destroy(); }
}

const KINDS = `SELECT CAST(1 AS SIGNED) AS i, 18446744073709551615 AS u, 1.5e0 AS d, CAST(1.25 AS DECIMAL(10,2)) AS m,
  'é😀' AS s, NULL AS n, DATE '2024-02-29' AS day, TIMESTAMP '2024-02-29 12:00:00.5' AS at, TIME '-12:30:01.5' AS t,
  x'00ff' AS b, b'101' AS bits, 9007199254740993 AS big`;
const table = async (c) => {
  await c.query('DROP TABLE IF EXISTS m2');
  await c.query(`CREATE TABLE m2(id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(40) NOT NULL DEFAULT 'x', g POINT, j LONGTEXT,
    b BLOB, t TINYINT(1), y YEAR, e ENUM('p','q'), st SET('r','s'), f FLOAT, dt DATETIME(3), u BIGINT UNSIGNED, bi BIT(9))`);
  await c.execute('INSERT INTO m2(a, j, b, t, y, e, st, f, dt, u, bi, g) VALUES (?,?,?,?,?,?,?,?,?,?,?,POINT(1,2))',
    ['née', '{"k": [1]}', Buffer.from([0, 1, 255]), true, 2024, 'q', 'r,s', 0.1, new Date(Date.UTC(2024, 1, 29)), '18446744073709551615', 257]);
  await c.query('INSERT INTO m2(a) VALUES (?), (?)', ['two', 'three']);
};
const ends = { password: 'wrong' };

const cases = {
  async columns() {
    return within({}, async (c) => {
      await table(c);
      const told = [];
      for (const how of ['query', 'execute']) {
        const [rows, fields] = await c[how]('SELECT m2.*, COUNT(*) OVER () AS total FROM m2 AS x JOIN m2 USING (id) ORDER BY m2.id');
        told.push(rows, fields.map((f) => [f.catalog, f.db || f.schema, f.table, f.orgTable, f.name, f.orgName, f.columnType, f.flags,
          f.characterSet, f.columnLength, f.decimals]));
      }
      return told;
    });
  },
  async header_of_a_write() {
    return within({}, async (c) => {
      await table(c);
      const told = [];
      for (const text of ["INSERT INTO m2(a) VALUES ('n'), ('m')", "UPDATE m2 SET a = 'z' WHERE id < 3", "UPDATE m2 SET a = 'z'",
        'DELETE FROM m2 WHERE id = 1', 'DO 1', "SET @x = 1"]) {
        for (const how of ['query', 'execute']) told.push((await c[how](text))[0]);
      }
      return told;
    });
  },
  async affected_instead_of_found() {
    return within({ flags: ['-FOUND_ROWS'] }, async (c) => {
      await table(c);
      return [(await c.query("UPDATE m2 SET a = 'two' WHERE a = 'two'"))[0], (await c.query("UPDATE m2 SET a = 'k'"))[0].info];
    });
  },
  async named_placeholders() {
    return within({ namedPlaceholders: true }, async (c) => [
      (await c.execute('SELECT :a + :b AS n, :a AS a', { a: 1, b: 41 }))[0], (await c.query('SELECT :s AS s, :s AS t', { s: "o'x" }))[0]]);
  },
  async type_cast() {
    const typeCast = (field, next) => (field.type === 'TINY' && field.length === 1 ? field.string() === '1'
      : field.type === 'GEOMETRY' ? field.geometry() : field.type === 'BLOB' ? 'blob of ' + field.buffer() : next());
    return within({ typeCast }, async (c) => {
      await table(c);
      const own = { sql: 'SELECT id, a, u FROM m2 ORDER BY id', typeCast: (field) => `${field.name}:${field.string()}` };
      return [(await c.query('SELECT * FROM m2 ORDER BY id'))[0], (await c.query(own))[0], (await c.query({ ...own, typeCast: false }))[0]];
    });
  },
  async shapes_of_rows() {
    const shapes = [{}, { rowsAsArray: true }, { nestTables: true }, { nestTables: '_' }, { dateStrings: true }, { dateStrings: ['DATE'] },
      { supportBigNumbers: true }, { supportBigNumbers: true, bigNumberStrings: true }, { decimalNumbers: true },
      { timezone: 'Z' }, { timezone: '+05:30' }];
    const told = [];
    for (const shape of shapes) {
      await within(shape, async (c) => { told.push((await c.query(KINDS))[0], (await c.execute(KINDS))[0]); });
    }
    return digest(show(told)) + ' ' + show(told[0]) + show(told[1]);
  },
  async charsets() {
    const told = [];
    for (const charset of ['UTF8MB4_UNICODE_CI', 'LATIN1_SWEDISH_CI', 'UTF8_GENERAL_CI', 'CP1251_GENERAL_CI', 'BIG5_CHINESE_CI', 'BINARY']) {
      await within({ charset }, async (c) => {
        told.push(charset, (await c.query("SELECT @@character_set_client AS a, @@collation_connection AS b, @@character_set_results AS c, HEX('é') AS h"))[0],
          (await c.execute('SELECT ? AS s, HEX(?) AS h', ['é', 'é']))[0]);
      });
    }
    return told;
  },
  async prepared_handles() {
    return within({ maxPreparedStatements: 3 }, async (c) => {
      await table(c);
      const told = [];
      const s = await c.prepare('SELECT id, a FROM m2 WHERE id >= ? ORDER BY id');
      for (const n of [1, 2, 9]) told.push((await s.execute([n]))[0]);
      await s.close();
      for (let n = 0; n < 12; n++) told.push((await c.execute(`SELECT ? + ${n} AS n`, [n]))[0][0].n);
      c.unprepare('SELECT ? + 11 AS n');
      told.push((await c.execute('SELECT ? + 11 AS n', [4]))[0]);
      await c.query('ALTER TABLE m2 ADD COLUMN z INT DEFAULT 6');
      told.push((await c.execute('SELECT * FROM m2 ORDER BY id LIMIT 1'))[0]);
      return told;
    });
  },
  async parameters_of_all_kinds() {
    return within({}, async (c) => {
      const values = [1, -1.5, 9007199254740993n, 'é', null, true, Buffer.from([1, 2]), new Date(Date.UTC(2024, 0, 1)), { a: [1, 'b'] }, ''];
      return [(await c.execute(`SELECT ${values.map((_, n) => `? AS c${n}`)}`, values))[0],
        (await c.query('SELECT ? IN (?) AS a, ?? FROM (SELECT 3 AS `q q`) AS t', [3, [1, 2, 3], 'q q']))[0],
        await c.execute('SELECT ?', [undefined]).catch((e) => e.message), await c.execute('SELECT ?, ?', [1]).catch((e) => [e.errno, e.sqlState])];
    });
  },
  async change_user() {
    return within({ multipleStatements: true }, async (c) => {
      await c.query('SET @x = 1; CREATE TEMPORARY TABLE tt(a INT)');
      await c.execute('SELECT ? AS before_change', [1]);
      await c.changeUser({ database: 'mysql', charset: 'LATIN1_SWEDISH_CI' });
      const [now] = await c.query('SELECT @x AS x, DATABASE() AS d, @@character_set_client AS cs');
      const told = [now, (await c.execute('SELECT ? AS after_change', [2]))[0], await c.query('SELECT * FROM shop.tt').catch((e) => e.errno)];
      told.push(await c.changeUser(ends).catch((e) => [e.errno, e.sqlState]));
      return told;
    });
  },
  async reset() {
    return within({}, async (c) => {
      await c.query("SET @x = 1, sql_mode = 'ANSI'");
      await c.reset();
      return (await c.query('SELECT @x AS x, @@sql_mode AS m, DATABASE() AS d'))[0];
    });
  },
  async several_results() {
    return within({ multipleStatements: true }, async (c) => {
      await c.query('DROP PROCEDURE IF EXISTS m2_p');
      await c.query("CREATE PROCEDURE m2_p(IN n INT) BEGIN SELECT n AS n; DO 1; SELECT 'b' AS b, n * 2 AS m; SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'careful'; END");
      const names = (fields) => (fields || []).map((f) => f && (Array.isArray(f) ? f.map((g) => g.name) : f.name));
      const told = [];
      for (const [how, text] of [['query', "SELECT 1 AS a; SET @q = 2; SELECT @q AS b, 'c' AS c; DO 0"], ['query', 'CALL m2_p(4)'], ['execute', 'CALL m2_p(5)'],
        ['query', 'SELECT 1 AS a; SELEKT; SELECT 3 AS c']]) {
        told.push(await c[how](text).then(([rows, fields]) => [rows, names(fields)], (e) => [e.errno, e.sqlState, e.sqlMessage]));
      }
      told.push((await c.query('SELECT 5 AS five'))[0]);
      return told;
    });
  },
  async streams() {
    const c = plain.createConnection(base);
    const told = [];
    for (const source of [c.query('SELECT seq, REPEAT(MD5(seq), 20) AS t FROM seq_1_to_20000'), c.execute('SELECT seq, MD5(seq) AS t FROM seq_1_to_3000 WHERE seq > ?', [10])]) {
      let count = 0; let sum = 0;
      for await (const row of source.stream({ highWaterMark: 5 })) { count += 1; sum += row.seq + row.t.length; }
      told.push(count, sum);
    }
    const seen = [];
    await new Promise((done) => c.query('SELECT seq FROM seq_1_to_3').on('fields', (f) => seen.push(f.map((g) => g.name)))
      .on('result', (row) => { c.pause(); setImmediate(() => { seen.push(row); c.resume(); }); }).on('end', done));
    // The rest of a stream that is not wanted.
    const half = c.query('SELECT seq FROM seq_1_to_50000').stream();
    for await (const row of half) { if (row.seq > 100) break; }
    told.push(seen, await new Promise((ok) => c.query('SELECT 8 AS n', (e, r) => ok(e ? e.message : r))));
    c.destroy();
    return told;
  },
  async pools() {
    const pool = driver.createPool({ ...base, connectionLimit: 4, maxIdle: 1, idleTimeout: 200, namedPlaceholders: true });
    const all = await Promise.all(Array.from({ length: 80 }, (_, n) => (n % 2 ? pool.query('SELECT ? + 0 AS n', [n]) : pool.execute('SELECT :n + 0 AS n', { n }))));
    const c = await pool.getConnection();
    await c.query('CREATE OR REPLACE TABLE m2_tx(a INT)');
    await c.beginTransaction();
    await c.query('INSERT INTO m2_tx VALUES (1)');
    await c.rollback();
    const [left] = await c.query('SELECT COUNT(*) AS n FROM m2_tx FOR UPDATE');
    c.release();
    const waits = await Promise.all(Array.from({ length: 8 }, () => pool.query('SELECT SLEEP(0.05) AS s')));
    await pool.end();
    return [all.every(([rows], n) => Number(rows[0].n) === n), left, waits.length, await pool.query('SELECT 1').catch((e) => e.message)];
  },
  async pool_that_resets_on_release() {
    const pool = driver.createPool({ ...base, connectionLimit: 1, resetOnRelease: true });
    const c = await pool.getConnection();
    await c.query("SET @mine = 5");
    c.release();
    const again = await pool.getConnection();
    const [rows] = await again.query('SELECT @mine AS m');
    again.release();
    await pool.end();
    return rows;
  },
  async pool_clusters() {
    const cluster = plain.createPoolCluster();
    cluster.add('A', base);
    cluster.add('B', base);
    const told = [];
    for (let n = 0; n < 6; n++) {
      told.push(await new Promise((ok) => cluster.of('*', 'RR').query('SELECT ? AS n', [n], (e, r) => ok(e ? e.message : r))));
    }
    await new Promise((ok) => cluster.end(ok));
    return told;
  },
  async long_packets() {
    return within({}, async (c) => {
      const told = [];
      for (const mib of [15, 16, 17, 33]) {
        const text = 'q'.repeat((mib << 20) - 7);
        told.push((await c.query('SELECT LENGTH(?) AS n, MD5(?) AS m', [text.slice(0, text.length >> 1), text.slice(0, 9)]))[0]);
        told.push((await c.execute('SELECT LENGTH(?) AS n, MD5(?) AS m', [text, 'x']))[0]);
        const [[row]] = await c.query(`SELECT REPEAT('q', ${text.length}) AS t`);
        told.push(row.t === text);
      }
      return told;
    });
  },
  async compressed() {
    return within({ compress: true, multipleStatements: true }, async (c) => {
      const text = 'abc'.repeat(2 << 20);
      const [[row]] = await c.query('SELECT ? AS t', [text]);
      const [[noise]] = await c.query("SELECT GROUP_CONCAT(SHA2(seq, 512) SEPARATOR '') AS t FROM (SELECT seq FROM seq_1_to_7000) AS s");
      const told = [row.t === text, noise.t.length, (await c.execute('SELECT ? AS s', ['small']))[0], (await c.query('SELECT 1 AS a; SELECT 2 AS b'))[0]];
      told.push(await c.query('SELEKT').catch((e) => [e.errno, e.sqlState]), (await c.query('SELECT seq FROM seq_1_to_2000'))[0].length);
      return told;
    });
  },
  async encrypted() {
    const told = [];
    for (const more of [{ ssl: { ca: ca() } }, { ssl: { rejectUnauthorized: false }, compress: true }, { ssl: {} }]) {
      told.push(await within({ port: tlsPort, ...more }, async (c) => {
        const text = 'tls'.repeat(1 << 20);
        return [(await c.query('SELECT 7 AS n'))[0], (await c.execute('SELECT ? = ? AS same', [text, text]))[0]];
      }).catch((e) => [e.code]));
    }
    return told;
  },
  async logins() {
    const told = [];
    for (const more of [ends, { database: 'nosuch' }, { user: 'hashed', password: 'hashed' }, { user: 'sha2', password: 'sha2' }, { password: undefined, passwordSha1: require('crypto').createHash('sha1').update('app').digest() },
      { connectAttributes: { program: 'x'.repeat(300) } }, { database: undefined }]) {
      told.push(await within(more, async (c) => (await c.query('SELECT DATABASE() AS d'))[0]).catch((e) => [e.errno, e.sqlState]));
    }
    return told;
  },
  async local_files() {
    const rows = Array.from({ length: 30000 }, (_, n) => `${n}\tline ${n}\n`).join('');
    const from = () => require('stream').Readable.from([rows.slice(0, 100001), rows.slice(100001)].map((part) => Buffer.from(part)));
    return within({ flags: ['+LOCAL_FILES'] }, async (c) => {
      await c.query('DROP TABLE IF EXISTS m2_l');
      await c.query('CREATE TABLE m2_l(a INT, b TEXT)');
      const [done] = await c.query({ sql: "LOAD DATA LOCAL INFILE 'some name' INTO TABLE m2_l", infileStreamFactory: from });
      const none = await c.query("LOAD DATA LOCAL INFILE '/x' INTO TABLE m2_l").catch((e) => e.message);
      return [done.affectedRows, done.info, none];
    });
  },
  async errors() {
    return within({}, async (c) => {
      await table(c);
      const told = [];
      for (const text of ['SELEKT', 'SELECT * FROM nosuch', 'INSERT INTO m2(id) VALUES (1)', "INSERT INTO m2(id, a) VALUES (99, NULL)", 'CALL nosuch()', "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own'", 'SELECT 1 FROM']) {
        for (const how of ['query', 'execute']) told.push(await c[how](text).catch((e) => [e.errno, e.code, e.sqlState, e.sqlMessage]));
      }
      const [[w]] = [await c.query('SHOW WARNINGS')];
      return [told, w];
    });
  },
  async timeouts() {
    return within({}, async (c) => {
      const said = await c.query({ sql: 'SELECT SLEEP(5)', timeout: 300 }).catch((e) => [e.code, e.fatal]);
      return [said];
    });
  },
  async transactions_and_autocommit() {
    return within({ multipleStatements: true }, async (c) => {
      const told = [];
      c.connection.on('error', () => {});
      await c.query('CREATE TABLE IF NOT EXISTS m2_tx(a INT); DELETE FROM m2_tx');
      for (const text of ['BEGIN', 'INSERT INTO m2_tx VALUES (1)', 'SAVEPOINT s', 'INSERT INTO m2_tx VALUES (2)', 'ROLLBACK TO s', 'COMMIT', 'SET autocommit = 0', 'INSERT INTO m2_tx VALUES (3)', 'ROLLBACK', 'SET autocommit = 1']) {
        told.push((await c.query(text))[0].serverStatus & ~0x4000);
      }
      told.push((await c.query('SELECT * FROM m2_tx LOCK IN SHARE MODE'))[0]);
      return told;
    });
  },
};
const smokes = new Set(['columns', 'named_placeholders', 'prepared_handles', 'change_user', 'pools']);

(async () => {
  for (const [what, work] of Object.entries(cases)) {
    if (process.env.DB_SMOKE && !smokes.has(what)) continue;
    let timer;
    const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error('no end within 60 s')), 60000); });
    try {
      const told = line(show(await Promise.race([work(), late])));
      console.log(`ok ${what} ${told.length > 600 ? `${told.length} characters ${digest(told)} ` + (process.env.DB_TRACE ? told : told.slice(0, 300)) : told}`);
    } catch (e) {
      console.log('fail ' + what + ' ' + line(e.message) + (process.env.DB_TRACE ? e.stack : ''));
    }
    clearTimeout(timer);
  }
  process.exit(0);
})();
