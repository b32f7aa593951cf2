// Sequelize (on mysql2 and on mariadb) and TypeORM: schema, associations, transactions, pools.
'use strict';
const path = require('path');
const at = require('module').createRequire(path.join(process.env.CLIENTS_HOME, 'clients.js'));
const { DB_HOST: host, DB_PORT, DB_USER: user, DB_PASSWORD: password, DB_DATABASE: database } = process.env;
const port = +DB_PORT;
const line = (value) => JSON.stringify(value).replace(/\s+/g, ' ').slice(0, 400);

async function sequelize(dialect) {
  const { Sequelize, DataTypes, Op } = at('sequelize');
  const db = new Sequelize(database, user, password, { host, port, dialect, logging: false, pool: { max: 5 } });
  const Author = db.define('author', { name: { type: DataTypes.STRING, unique: true }, data: DataTypes.JSON });
  const Book = db.define('book', { title: DataTypes.STRING, price: DataTypes.DECIMAL(8, 2), at: DataTypes.DATE(3) });
  Author.hasMany(Book);
  Book.belongsTo(Author);
  await db.sync({ force: true });
  await Promise.all(Array.from({ length: 20 }, (_, n) => Author.create({ name: 'a' + n, data: { n } })));
  const authors = await Author.findAll({ order: [['name', 'ASC']] });
  await Book.bulkCreate(authors.flatMap((a, n) => [1, 2].map((m) => ({ title: `t${n}-${m}`, price: '9.99', authorId: a.id }))));
  const counted = await Book.count();
  const failed = await db.transaction(async (transaction) => {
    await Book.destroy({ where: {}, transaction });
    throw new Error('undo');
  }).catch((e) => e.message);
  const after = await Book.count();
  const [one, made] = await Author.findOrCreate({ where: { name: 'new' }, defaults: { data: [] } });
  const twice = await Author.create({ name: 'new' }).catch((e) => e.name);
  const joined = await Author.findAll({ include: Book, where: { name: { [Op.in]: ['a3', 'a4'] } }, order: ['name', [Book, 'title']] });
  await Author.update({ data: { z: 1 } }, { where: { name: 'new' } });
  const seen = (await Author.findByPk(one.id)).data;
  await db.close();
  return [authors.length, counted, failed, after, made, twice, joined.map((a) => [a.name, a.books.map((b) => b.title + b.price)]), seen];
}

async function typeorm() {
  const { DataSource, EntitySchema } = at('typeorm');
  const Item = new EntitySchema({
    name: 'item', columns: { id: { type: 'int', primary: true, generated: true }, name: { type: 'varchar' }, n: { type: 'int', default: 3 } },
  });
  const source = await new DataSource({
    type: 'mysql', connectorPackage: 'mysql2', host, port, username: user, password, database, entities: [Item], synchronize: true, dropSchema: true,
  }).initialize();
  const items = source.getRepository(Item);
  const saved = await items.save(Array.from({ length: 10 }, (_, n) => ({ name: 'i' + n })));
  await source.transaction(async (m) => { await m.getRepository(Item).delete({ name: 'i1' }); throw new Error(); }).catch(() => {});
  await source.transaction('SERIALIZABLE', async (m) => { await m.getRepository(Item).update({ name: 'i2' }, { n: 9 }); });
  const got = await items.find({ order: { id: 'ASC' } });
  const runner = source.createQueryRunner();
  const tables = (await runner.getTable('item')).columns.map((c) => [c.name, c.type, c.default]);
  await runner.release();
  await source.destroy();
  return [saved.length, got, tables];
}

(async () => {
  const cases = { sequelize_mysql2: () => sequelize('mysql'), sequelize_mariadb: () => sequelize('mariadb'), typeorm };
  for (const [name, work] of Object.entries(cases)) {
    try {
      console.log(`ok ${name} ${line(await work())}`);
    } catch (e) {
      console.log(`fail ${name} ${String(e.message).replace(/\s+/g, ' ')}`);
    }
  }
  process.exit(0);
})();
