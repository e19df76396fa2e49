-- A price is never edited, only followed: the database says so, too. No release has ever changed one.

CREATE TRIGGER prices_never_change BEFORE UPDATE OR DELETE ON prices FOR EACH ROW
    EXECUTE FUNCTION refuse_change();
