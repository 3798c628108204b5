-- The whole state of one node's API server. Columns named value hold the JSON that clients see.
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

-- revision: of the last change in this image. floor: changes up to here are no longer in events.
INSERT INTO meta VALUES ('format', 1), ('revision', 0), ('floor', 0);

CREATE TABLE objects (
  resource TEXT NOT NULL,
  name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  value TEXT NOT NULL,
  -- with row ids: without them every value has pages of its own
  PRIMARY KEY (resource, name)
);

-- No longer filled: the journals tell what happened. In older files an empty value is that of the object with this revision.
CREATE TABLE events (
  revision INTEGER PRIMARY KEY,
  resource TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('ADDED', 'MODIFIED', 'DELETED')),
  at INTEGER NOT NULL,
  value TEXT NOT NULL,
  previous_labels TEXT
);
