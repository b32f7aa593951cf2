"""aiomysql and asyncmy: pools, cursors, transactions under asyncio."""

import asyncio

from case import DATABASE, HOST, PASSWORD, PORT, USER, case


async def work(driver):
    pool = await driver.create_pool(host=HOST, port=PORT, user=USER, password=PASSWORD, db=DATABASE, minsize=1, maxsize=8)
    seen = []
    async with pool.acquire() as connection:
        async with connection.cursor() as cursor:
            await cursor.execute("DROP TABLE IF EXISTS aio_t")
            await cursor.execute("CREATE TABLE aio_t(a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(20))")
            await cursor.executemany("INSERT INTO aio_t(b) VALUES (%s)", [(f"b{n}",) for n in range(100)])
            seen.append(cursor.rowcount)
        await connection.commit()
        await connection.begin()
        async with connection.cursor() as cursor:
            await cursor.execute("DELETE FROM aio_t")
        await connection.rollback()

    async def one(number):
        async with pool.acquire() as connection:
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT %s + COUNT(*) FROM aio_t", (number,))
                row = await cursor.fetchone()
            await connection.commit()
            return row[0]

    seen.append(await asyncio.gather(*(one(n) for n in range(100))))
    pool.close()
    await pool.wait_closed()
    return [str(part) for part in seen]


def run(name):
    driver = __import__(name)
    return asyncio.run(work(driver))


if __name__ == "__main__":
    for name in ("aiomysql", "asyncmy"):
        case(name, run, name)
