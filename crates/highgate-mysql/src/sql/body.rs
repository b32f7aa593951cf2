//! Where a statement ends that stores others: routines, triggers, events and packages have semicolons of
//! their own.
//!
//! Blocks are followed by the words that open and close them where a statement begins. What is not
//! recognised ends too early: what follows is then read as statements of the text, which asks for more than
//! it needs, never for less. Where more was opened than closed nothing is known but that: see [`Ends::Unsure`].

use super::LexMode;
use super::token::{Lexer, Token};

/// Where a statement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// Behind this byte: that of a semicolon, or the last.
    At(usize),
    /// With the text, as far as it can be told: its blocks are not closed as they should be.
    Unsure,
}

/// Where the statement ends that begins at `start` and has a word that may give it a body.
pub(super) fn end(text: &[u8], start: usize, mode: LexMode) -> Ends {
    let rest = text.get(start..).unwrap_or_default();
    // Whose characters end in marks is in doubt anyway: nobody has to look for them again.
    let mut body = Body::new(rest, LexMode { unsafe_charset: false, ..mode });
    let ends = match body.stored() {
        Some(what) => body.end(what),
        None => body.plain_end(),
    };
    match ends {
        Ends::At(end) => Ends::At(start + end),
        Ends::Unsure => Ends::Unsure,
    }
}

/// What is stored, as far as it decides where statements begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Event,
    Package,
    Routine,
    Trigger,
}

struct Body<'t> {
    text: &'t [u8],
    lexer: Lexer<'t>,
    /// The token before the next, as far as it matters: a word, or a mark.
    word: &'t [u8],
    mark: u8,
    depth: u32,
    /// Blocks that are open; a bit of each says whether it is a CASE within an expression.
    level: u32,
    expressions: u64,
    /// Within the declarations of Oracle's dialect, whose BEGIN opens no further block.
    declares: bool,
    /// A statement begins with the next token.
    begins: bool,
}

impl<'t> Body<'t> {
    fn new(text: &'t [u8], mode: LexMode) -> Self {
        Body {
            text,
            lexer: Lexer::new(text, mode),
            word: b"",
            mark: 0,
            depth: 0,
            level: 0,
            expressions: 0,
            declares: false,
            begins: false,
        }
    }

    fn next(&mut self) -> (Token, &'t [u8]) {
        let token = self.lexer.next();
        (token, if let Token::Word(word, ..) = token { word.of(self.text) } else { b"" })
    }

    /// `CREATE [OR REPLACE] [DEFINER = user] [AGGREGATE] what`; of what exists only events get a new body.
    fn stored(&mut self) -> Option<Stored> {
        let (_, first) = self.next();
        let creates = is(first, b"CREATE");
        let (_, mut word) = self.next();
        if is(word, b"OR") {
            self.next();
            (_, word) = self.next();
        }
        if is(word, b"DEFINER") {
            // The user: `a`@`b` is of two tokens, CURRENT_USER() of three.
            self.next();
            self.next();
            word = loop {
                let (token, word) = self.next();
                if !matches!(token, Token::Variable(_) | Token::Punct(_)) {
                    break word;
                }
            };
        }
        if is(word, b"AGGREGATE") {
            (_, word) = self.next();
        }
        match () {
            () if is(word, b"EVENT") => Some(Stored::Event),
            () if !creates => None,
            () if is(word, b"TRIGGER") => Some(Stored::Trigger),
            () if is(word, b"PACKAGE") => Some(Stored::Package),
            () if is(word, b"FUNCTION") || is(word, b"PROCEDURE") => Some(Stored::Routine),
            () => None,
        }
    }

    /// The next semicolon. That which gave rise to the question may lie before: none can be told from it.
    fn plain_end(&mut self) -> Ends {
        self.lexer.seek(0);
        loop {
            if let Token::End | Token::Punct(b';') = self.lexer.next() {
                return Ends::At(self.lexer.position());
            }
        }
    }

    fn end(&mut self, stored: Stored) -> Ends {
        loop {
            let (token, word) = self.next();
            match token {
                Token::End if self.level > 0 => return Ends::Unsure,
                Token::End => return Ends::At(self.lexer.position()),
                Token::Punct(b';') if self.level == 0 => return Ends::At(self.lexer.position()),
                Token::Punct(b'(') => self.depth += 1,
                Token::Punct(b')') => self.depth = self.depth.saturating_sub(1),
                Token::Word(..) if self.mark != b'.' => {
                    if !self.word(word, stored) {
                        return Ends::Unsure;
                    }
                    (self.word, self.mark) = (word, 0);
                    continue;
                }
                _ => {}
            }
            self.mark = if let Token::Punct(mark) = token { mark } else { 0 };
            // Behind a label, too.
            self.begins = matches!(self.mark, b';' | b':');
            self.word = b"";
        }
    }

    /// Follows the blocks; false where they are too deep.
    fn word(&mut self, word: &'t [u8], stored: Stored) -> bool {
        let begins = self.begins || self.may_begin_body(stored);
        let closes = is(self.word, b"END");
        self.begins = false;
        match () {
            () if is(word, b"END") => {
                self.level = self.level.saturating_sub(1);
                self.expressions >>= 1;
            }
            // END IF, END LOOP: they closed it.
            () if closes => {}
            () if is(word, b"BEGIN") => {
                self.begins = true;
                return std::mem::take(&mut self.declares) || self.open(false);
            }
            () if is(word, b"CASE") => return self.open(!begins),
            () if begins && is_one(word, &[b"IF", b"FOR", b"WHILE"]) => return self.open(false),
            () if begins && is_one(word, &[b"LOOP", b"REPEAT"]) => {
                self.begins = true;
                return self.open(false);
            }
            () if is_one(word, &[b"THEN", b"ELSE"]) => self.begins = self.expressions & 1 == 0,
            // DO itself is a statement, before an expression.
            () if is(word, b"DO") => self.begins = !begins,
            () if is(word, b"LOOP") => self.begins = true,
            () if is(word, b"ROW") => self.begins = stored == Stored::Trigger,
            () if self.declares_behind(word, stored) => {
                self.declares = stored == Stored::Routine;
                return self.open(false);
            }
            () => {}
        }
        true
    }

    /// Whether a routine's body may begin here: behind its parameters.
    fn may_begin_body(&self, stored: Stored) -> bool {
        stored == Stored::Routine && self.level == 0 && self.depth == 0 && self.mark == b')'
    }

    /// Oracle's `AS` or `IS`, behind a routine's parameters, and that of a package. Behind a name alone, or a
    /// function's type, it can't be told from that of a query: such a body is read as several statements.
    fn declares_behind(&self, word: &[u8], stored: Stored) -> bool {
        self.level == 0
            && is_one(word, &[b"AS", b"IS"])
            && (stored == Stored::Package || self.may_begin_body(stored))
    }

    fn open(&mut self, is_expression: bool) -> bool {
        self.level += 1;
        self.expressions = self.expressions << 1 | u64::from(is_expression);
        self.level < u64::BITS
    }
}

fn is(word: &[u8], known: &[u8]) -> bool {
    word.eq_ignore_ascii_case(known)
}

fn is_one(word: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|known| is(word, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(first: &str, then: &str) {
        let text = format!("{first}{then}");
        let end = end(text.as_bytes(), 0, LexMode::default());
        assert_eq!(end, Ends::At(first.len()), "{text}");
    }

    #[test]
    fn a_body_is_read_to_its_end() {
        for text in [
            "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END;",
            "CREATE OR REPLACE DEFINER = `a`@`b` PROCEDURE p() BEGIN DECLARE a INT; SET a = 1; END;",
            "CREATE DEFINER=CURRENT_USER() AGGREGATE FUNCTION f(a INT) RETURNS INT BEGIN
                LOOP FETCH GROUP NEXT ROW; END LOOP; END;",
            "CREATE DEFINER = event@localhost TRIGGER t BEFORE INSERT ON u FOR EACH ROW SET NEW.a = IF(1, 2, 3);",
            "CREATE TRIGGER t BEFORE INSERT ON u FOR EACH ROW IF NEW.a THEN SET NEW.b = 1; END IF;",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t;",
            "ALTER DEFINER = 'a'@'b' EVENT e DO BEGIN DELETE FROM t; DELETE FROM u; END;",
            "CREATE PROCEDURE p() l: BEGIN IF 1 THEN BEGIN SELECT 1; END; ELSE IF 2 THEN SELECT 2; END IF; END IF; END l;",
            "CREATE PROCEDURE p() BEGIN SELECT CASE a WHEN 1 THEN IF(b, 1, 2) ELSE REPEAT('x', 2) END FROM t; END;",
            "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN IF b THEN SELECT 1; END IF; ELSE SELECT 2; END CASE; END;",
            "CREATE PROCEDURE p() BEGIN DO IF(1, 2, 3); REPEAT SELECT 1; UNTIL 1 END REPEAT; END;",
            "CREATE PROCEDURE p() BEGIN FOR i IN 1..3 DO SELECT i; END FOR; WHILE 1 DO SELECT 1; END WHILE; END;",
            "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; END; SELECT 1; END;",
            "CREATE PROCEDURE p() BEGIN SELECT t.begin, `begin`, 'BEGIN' FROM t; END;",
            "CREATE PROCEDURE p() IF 1 THEN SELECT 1; SELECT 2; END IF;",
            "CREATE PROCEDURE p() SELECT 1 AS a;",
            "CREATE PROCEDURE p(a INT) AS b INT; c INT; BEGIN SELECT 1; SELECT 2; END;",
            "CREATE PACKAGE p AS PROCEDURE a(); FUNCTION b() RETURN INT; END;",
            "CREATE PACKAGE BODY p AS PROCEDURE a() AS b INT; BEGIN SELECT 1; END; END;",
            "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON u FOR EACH ROW BEGIN
                SET NEW.a = 1; SET NEW.b = 2; END */;",
        ] {
            ends(text, " LOCK TABLES t WRITE");
            ends(text, "");
        }
    }

    #[test]
    fn what_has_no_body_ends_with_its_semicolon() {
        for text in [
            "ALTER TABLE log ADD COLUMN event VARCHAR(9);",
            "CREATE TABLE x (event INT, begin INT);",
            "CREATE VIEW event AS SELECT begin FROM t;",
            "CREATE DEFINER = event@localhost VIEW v AS SELECT trigger_name FROM t;",
            "ALTER EVENT e ENABLE;",
            "ALTER PROCEDURE p COMMENT 'begin';",
            "CREATE SERVER event FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'a');",
        ] {
            ends(text, " BEGIN NOT ATOMIC KILL 7; END");
        }
    }

    #[test]
    fn blocks_that_are_not_closed_leave_the_end_open() {
        let of = |text: &str| end(text.as_bytes(), 0, LexMode::default());
        assert_eq!(of("CREATE PROCEDURE p() BEGIN SELECT 1; LOCK TABLES t WRITE"), Ends::Unsure);
        assert_eq!(of("CREATE EVENT e DO SELECT begin FROM t; KILL 7"), Ends::Unsure);
        let deep = "CREATE PROCEDURE p() ".to_owned() + &"BEGIN ".repeat(70) + &"END; ".repeat(70);
        assert_eq!(of(&deep), Ends::Unsure);
    }
}
