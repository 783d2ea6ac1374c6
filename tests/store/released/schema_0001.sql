BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE care (
	model VARCHAR(64) NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_care PRIMARY KEY (model)
);
INSERT INTO "care" VALUES('churn','{"champion":4,"closed_until":null,"detector":{"calm":0,"change_point":null,"cost":0.0,"cost_error":0.0,"log_cusum":0.0,"log_value":"-inf","rows":0,"windows":0},"failures":0,"incident":null,"job":null,"labelled_until":null,"model":"churn","noticed":[],"paused":false,"probation":null,"quarantine":null,"retrained":[],"since":null,"state":"learning","trial":null}');
CREATE TABLE chain (
	sequence INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	decision_id VARCHAR(200) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	note TEXT NOT NULL, 
	body TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_chain PRIMARY KEY (sequence)
);
INSERT INTO "chain" VALUES(1,'2026-11-21 10:21:04.209158','p-1','decided','','{"action":"promote","at":"2026-03-01T12:00:00Z","findings":[{"check":"psi","detail":"PSI 0.07 is surely above 0.05","interval":{"high":0.08,"low":0.06},"kind":"column drift","subject":"age","value":0.07,"verdict":"notice","window":{"end":"2026-03-02T00:00:00Z","start":"2026-03-01T00:00:00Z"}}],"id":"p-1","model":"churn","previous":3,"reason":"version 4 is better than version 3 by 0.012 nats","version":4}','0000000000000000000000000000000000000000000000000000000000000000','d04139cb07ae291012b0d70736efbc9b0d05a8370a30b22769dd8322b2751048');
INSERT INTO "chain" VALUES(2,'2026-11-21 10:21:04.213576','p-2','decided','','{"action":"promote","at":"2026-03-01T12:00:00Z","findings":[{"check":"psi","detail":"PSI 0.07 is surely above 0.05","interval":{"high":0.08,"low":0.06},"kind":"column drift","subject":"age","value":0.07,"verdict":"notice","window":{"end":"2026-03-02T00:00:00Z","start":"2026-03-01T00:00:00Z"}}],"id":"p-2","model":"churn","previous":3,"reason":"version 4 is better than version 3 by 0.012 nats","version":4}','d04139cb07ae291012b0d70736efbc9b0d05a8370a30b22769dd8322b2751048','04038a46931e97b232b9e5c1e22a42f35056269d1b0c3dcf085734fe8122ac96');
INSERT INTO "chain" VALUES(3,'2026-11-21 10:21:04.215222','p-1','done','alias champion is version 4','','04038a46931e97b232b9e5c1e22a42f35056269d1b0c3dcf085734fe8122ac96','152cc7f70c02d5b31b6ca8e90d6dd36c3d36372fa6feedd1b26812c8bad9cfdf');
CREATE TABLE chain_head (
	id INTEGER NOT NULL, 
	sequence INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_chain_head PRIMARY KEY (id), 
	CONSTRAINT ck_chain_head_one_row CHECK (id = 1)
);
INSERT INTO "chain_head" VALUES(1,3,'152cc7f70c02d5b31b6ca8e90d6dd36c3d36372fa6feedd1b26812c8bad9cfdf');
CREATE TABLE decisions (
	id VARCHAR(200) NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	recorded INTEGER NOT NULL, 
	changed INTEGER NOT NULL, 
	CONSTRAINT pk_decisions PRIMARY KEY (id), 
	CONSTRAINT fk_decisions_recorded_chain FOREIGN KEY(recorded) REFERENCES chain (sequence), 
	CONSTRAINT fk_decisions_changed_chain FOREIGN KEY(changed) REFERENCES chain (sequence), 
	CONSTRAINT uq_decisions_recorded UNIQUE (recorded)
);
INSERT INTO "decisions" VALUES('p-1','churn','done',1,3);
INSERT INTO "decisions" VALUES('p-2','churn','decided',2,2);
CREATE TABLE findings (
	id INTEGER NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	window_start DATETIME NOT NULL, 
	window_end DATETIME NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_findings PRIMARY KEY (id), 
	CONSTRAINT uq_findings_model_window_start_window_end_digest UNIQUE (model, window_start, window_end, digest)
);
INSERT INTO "findings" VALUES(1,'churn','2026-03-01 00:00:00.000000','2026-03-02 00:00:00.000000','da7b6080df622723e10cf67a57af9d61bd837afa202f5108822a58515292cb53','{"check":"psi","detail":"PSI 0.07 is surely above 0.05","interval":{"high":0.08,"low":0.06},"kind":"column drift","subject":"age","value":0.07,"verdict":"notice"}');
INSERT INTO "findings" VALUES(2,'churn','2026-03-01 00:00:00.000000','2026-03-02 00:00:00.000000','581f023bb6b30b059414d9806ae83d290090d4f2561ba1786823ff0061284e41','{"check":"psi","detail":"PSI 0.07 is surely above 0.05","interval":{"high":0.08,"low":0.06},"kind":"column drift","subject":"plan","value":0.07,"verdict":"notice"}');
CREATE TABLE heartbeats (
	process VARCHAR(64) NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_heartbeats PRIMARY KEY (process)
);
INSERT INTO "heartbeats" VALUES('pilot','2026-11-21 10:21:04.221099');
CREATE TABLE jobs (
	id VARCHAR(200) NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	created DATETIME NOT NULL, 
	body TEXT NOT NULL, 
	CONSTRAINT pk_jobs PRIMARY KEY (id)
);
INSERT INTO "jobs" VALUES('j-1','churn','queued','2026-03-01 12:00:00.000000','{"arguments":{"days":28},"created":"2026-03-01T12:00:00Z","error":"","finished":null,"id":"j-1","kind":"retrain","model":"churn","pid":null,"result":{},"status":"queued"}');
CREATE TABLE quarantines (
	id INTEGER NOT NULL, 
	model VARCHAR(64) NOT NULL, 
	window_start DATETIME NOT NULL, 
	window_end DATETIME NOT NULL, 
	decision_id VARCHAR(200) NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_quarantines PRIMARY KEY (id), 
	CONSTRAINT uq_quarantines_model_window_start_window_end_decision_id UNIQUE (model, window_start, window_end, decision_id)
);
INSERT INTO "quarantines" VALUES(1,'churn','2026-03-01 00:00:00.000000','2026-03-02 00:00:00.000000','q-1','age in months');
CREATE INDEX ix_findings_model_window_end ON findings (model, window_end);
CREATE INDEX ix_decisions_model_recorded ON decisions (model, recorded);
CREATE INDEX ix_jobs_model_created ON jobs (model, created);
COMMIT;
