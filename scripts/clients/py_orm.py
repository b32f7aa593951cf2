"""SQLAlchemy on four drivers, and Django: schema, relations, transactions, inspection."""

import sys

from case import DATABASE, HOST, PASSWORD, PORT, USER, case


def sqlalchemy(driver):
    import sqlalchemy as sa
    from sqlalchemy import orm
    base = orm.declarative_base()

    class Author(base):
        __tablename__ = "sa_author"
        id = sa.Column(sa.Integer, primary_key=True)
        name = sa.Column(sa.String(40), unique=True)
        books = orm.relationship("Book", backref="author", cascade="all, delete-orphan")

    class Book(base):
        __tablename__ = "sa_book"
        id = sa.Column(sa.Integer, primary_key=True)
        title = sa.Column(sa.String(40))
        price = sa.Column(sa.Numeric(8, 2))
        data = sa.Column(sa.JSON)
        author_id = sa.Column(sa.ForeignKey("sa_author.id"))

    url = sa.URL.create(f"mysql+{driver}", USER, PASSWORD, HOST, PORT, DATABASE)
    engine = sa.create_engine(url, pool_size=5, pool_pre_ping=True, isolation_level="REPEATABLE READ")
    base.metadata.drop_all(engine)
    base.metadata.create_all(engine)
    seen = []
    with orm.Session(engine) as session:
        for n in range(20):
            session.add(Author(name=f"a{n}", books=[Book(title=f"t{n}.{m}", price=m, data={"n": [n, m]}) for m in range(3)]))
        session.commit()
        seen.append(session.query(Book).count())
        session.query(Book).filter(Book.price > 1).delete()
        session.rollback()
        with session.begin_nested() as point:
            session.add(Author(name="a0"))
            try:
                session.flush()
            except sa.exc.IntegrityError as error:
                seen.append(error.orig.args[0])
                point.rollback()
        seen.append(session.scalars(sa.select(Author.name).join(Book).group_by(Author.name).order_by(Author.name)).all())
        session.delete(session.query(Author).filter_by(name="a3").one())
        session.commit()
        seen.append(session.query(Book).count())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        seen.append(connection.execute(sa.text("SELECT @@autocommit, @@tx_isolation")).all())
        result = connection.execute(sa.insert(Author.__table__).values(name="core"))
        seen.append(result.inserted_primary_key[0] > 20)
        for row in connection.execution_options(stream_results=True, yield_per=7).execute(sa.select(Book.__table__)):
            pass
    inspector = sa.inspect(engine)
    seen.append([(c["name"], str(c["type"])) for c in inspector.get_columns("sa_book")])
    seen.append(inspector.get_foreign_keys("sa_book"))
    with engine.connect() as connection:
        seen.append(connection.get_isolation_level())
    engine.dispose()
    return seen


def django():
    import django as dj
    from django.conf import settings
    settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"], USE_TZ=True, DATABASES={"default": dict(
        ENGINE="django.db.backends.mysql", HOST=HOST, PORT=PORT, USER=USER, PASSWORD=PASSWORD, NAME=DATABASE,
        OPTIONS={"isolation_level": "read committed"})}, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
    dj.setup()
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django.db import IntegrityError, connection, transaction
    call_command("migrate", verbosity=0)
    seen = []
    for n in range(10):
        user = User.objects.create(username=f"u{n}", email=f"{n}@example.org")
        user.groups.add(Group.objects.get_or_create(name=f"g{n % 3}")[0])
    User.objects.bulk_create(User(username=f"b{n}") for n in range(100))
    try:
        with transaction.atomic():
            User.objects.filter(username__startswith="b").delete()
            User.objects.create(username="u1")
    except IntegrityError as error:
        seen.append(error.args[0])
    seen.append(User.objects.count())
    with transaction.atomic():
        locked = User.objects.select_for_update().get(username="u2")
        locked.last_name = "locked"
        locked.save()
    seen.append(list(User.objects.filter(groups__name="g2").order_by("username").values_list("username", "last_name")))
    User.objects.update_or_create(username="u9", defaults={"first_name": "nine"})
    seen.append(User.objects.get(username="u9").first_name)
    seen.append(connection.introspection.table_names())
    seen.append(connection.mysql_is_mariadb)
    call_command("flush", interactive=False, verbosity=0)
    seen.append(User.objects.count())
    connection.close()
    return seen


if __name__ == "__main__":
    for name in ("pymysql", "mysqldb", "mysqlconnector"):
        case(f"sqlalchemy_{name}", sqlalchemy, name)
    case("django", django)
    sys.exit(0)
