//! Accounts of a database.

use super::Database;

impl Database {
    /// Makes an account for any host, with `grants` as in `SELECT, INSERT ON shop.*`.
    ///
    /// # Errors
    /// As [`Database::sql`].
    pub fn create_user(&self, name: &str, password: &str, grants: &str) -> anyhow::Result<()> {
        self.sql(&format!(
            "DROP USER IF EXISTS '{name}'@'%'; \
             CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'; \
             GRANT {grants} TO '{name}'@'%'"
        ))?;
        Ok(())
    }
}
