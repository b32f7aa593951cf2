// MariaDB Connector/J through one set of cases: both protocols, batches, pipelining, CALL, streams.

import java.sql.*;
import java.util.*;

public class Cases {
    interface Work { Object run() throws Exception; }

    static final String HOST = System.getenv("DB_HOST"), PORT = System.getenv("DB_PORT");
    static final boolean SMOKE = "1".equals(System.getenv("DB_SMOKE"));

    static Connection connect(String options) throws SQLException {
        String url = "jdbc:mariadb://" + HOST + ":" + PORT + "/" + System.getenv("DB_DATABASE") + "?" + options;
        return DriverManager.getConnection(url, System.getenv("DB_USER"), System.getenv("DB_PASSWORD"));
    }

    static void check(String name, Work work) {
        try {
            String value = String.valueOf(work.run()).replaceAll("\\s+", " ");
            System.out.println("ok " + name + " " + value);
        } catch (Throwable error) {
            System.out.println("fail " + name + " " + String.valueOf(error).replaceAll("\\s+", " "));
        }
    }

    static List<List<Object>> rows(ResultSet set) throws SQLException {
        List<List<Object>> rows = new ArrayList<>();
        while (set.next()) {
            List<Object> row = new ArrayList<>();
            for (int at = 1; at <= set.getMetaData().getColumnCount(); at++) row.add(set.getObject(at));
            rows.add(row);
        }
        return rows;
    }

    static List<List<Object>> ask(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet set = s.executeQuery(sql)) { return rows(set); }
    }

    static Object batch(String options) throws SQLException {
        try (Connection c = connect(options); Statement s = c.createStatement()) {
            s.execute("DROP TABLE IF EXISTS j_b");
            s.execute("CREATE TABLE j_b(a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(20), c INT)");
            try (PreparedStatement p = c.prepareStatement("INSERT INTO j_b(b, c) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                for (int n = 0; n < 200; n++) {
                    p.setString(1, "v" + n);
                    if (n % 5 == 0) p.setNull(2, Types.INTEGER); else p.setInt(2, n);
                    p.addBatch();
                }
                int done = p.executeBatch().length;
                for (int n = 0; n < 50; n++) s.addBatch("UPDATE j_b SET c = " + n + " WHERE a = " + n);
                return done + " " + s.executeBatch().length + ask(c, "SELECT COUNT(*), SUM(c) FROM j_b");
            }
        }
    }

    static Object prepared(String options) throws SQLException {
        try (Connection c = connect(options)) {
            List<Object> seen = new ArrayList<>();
            try (PreparedStatement p = c.prepareStatement("SELECT a, b FROM j_b WHERE a < ? ORDER BY a")) {
                for (int n : new int[] {2, 3, 4}) {
                    p.setInt(1, n);
                    seen.add(rows(p.executeQuery()));
                }
            }
            return seen;
        }
    }

    static Object procedure(String options) throws SQLException {
        try (Connection c = connect(options); Statement s = c.createStatement()) {
            s.execute("DROP PROCEDURE IF EXISTS j_p");
            s.execute("CREATE PROCEDURE j_p(IN n INT, OUT m INT, INOUT o INT) BEGIN SELECT n; SELECT 'two', n; SET m = n * 2; SET o = o + 1; END");
            try (CallableStatement call = c.prepareCall("{call j_p(?, ?, ?)}")) {
                call.setInt(1, 4);
                call.registerOutParameter(2, Types.INTEGER);
                call.setInt(3, 9);
                call.registerOutParameter(3, Types.INTEGER);
                List<Object> sets = new ArrayList<>();
                boolean is = call.execute();
                while (is) {
                    sets.add(rows(call.getResultSet()));
                    is = call.getMoreResults();
                }
                return sets + " " + call.getInt(2) + " " + call.getInt(3);
            }
        }
    }

    static Object transaction() throws SQLException {
        try (Connection c = connect("")) {
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            c.setAutoCommit(false);
            ask(c, "SELECT COUNT(*) FROM j_b");
            try (Statement s = c.createStatement()) { s.executeUpdate("DELETE FROM j_b"); }
            Savepoint point = c.setSavepoint("p");
            c.rollback(point);
            c.rollback();
            c.setReadOnly(true);
            Object after = ask(c, "SELECT COUNT(*) FROM j_b");
            c.commit();
            c.setReadOnly(false);
            return after + " " + c.getTransactionIsolation();
        }
    }

    static Object stream() throws SQLException {
        try (Connection c = connect("useServerPrepStmts=true"); PreparedStatement p = c.prepareStatement("SELECT seq FROM seq_1_to_3000")) {
            p.setFetchSize(100);
            long sum = 0;
            ResultSet set = p.executeQuery();
            while (set.next()) sum += set.getLong(1);
            return sum;
        }
    }

    static Object metadata() throws SQLException {
        try (Connection c = connect("")) {
            List<Object> seen = new ArrayList<>();
            for (List<Object> row : rows(c.getMetaData().getColumns(c.getCatalog(), null, "j_b", "%"))) seen.add(row.subList(2, 7));
            seen.add(rows(c.getMetaData().getPrimaryKeys(c.getCatalog(), null, "j_b")).size());
            return seen + c.getMetaData().getDatabaseProductVersion();
        }
    }

    static Object warnings() throws SQLException {
        try (Connection c = connect("sessionVariables=sql_mode=''"); Statement s = c.createStatement()) {
            rows(s.executeQuery("SELECT CAST('1x' AS INT), 1/0"));
            List<String> seen = new ArrayList<>();
            for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) seen.add(w.getErrorCode() + w.getMessage());
            return seen;
        }
    }

    static Object cancel() throws Exception {
        try (Connection c = connect(""); Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            try {
                return rows(s.executeQuery("SELECT SLEEP(10)"));
            } catch (SQLException error) {
                return error.getErrorCode() + " " + ask(c, "SELECT 1");
            }
        }
    }

    public static void main(String[] arguments) {
        String[] all = {"", "useServerPrepStmts=true", "rewriteBatchedStatements=true", "useBulkStmts=true&useServerPrepStmts=true",
            "usePipelineAuth=true", "usePipelineAuth=true&rewriteBatchedStatements=true&useServerPrepStmts=true", "useCompression=true"};
        for (String options : SMOKE ? new String[] {"", "useServerPrepStmts=true"} : all) {
            String name = options.isEmpty() ? "plain" : options.replace("=true", "").replace('&', '+');
            check("batch_" + name, () -> batch(options));
            check("prepared_" + name, () -> prepared(options));
            check("procedure_" + name, () -> procedure(options));
        }
        check("transaction", Cases::transaction);
        check("stream", Cases::stream);
        check("metadata", Cases::metadata);
        check("warnings", Cases::warnings);
        check("cancel", Cases::cancel);
    }
}
