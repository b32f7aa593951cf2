//! highgate-mysql.
