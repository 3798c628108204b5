/** Where a router's configuration comes from: what the router asks of a Router object or of a file in its place. */
import type { RouterStatus, RouterStatusCondition } from '../api/gen/types.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { RouterConfig } from './config.ts';

/** What a source knows now. */
export type Reading =
  /** Nothing yet: what is in force stays in force. */
  | { state: 'waiting'; reason: string }
  /** That there is no configuration: nothing is to be served. */
  | { state: 'absent'; reason: string }
  | {
      state: 'present';
      /** Changes exactly when the configuration may have. */
      key: string;
      /** Builds the configuration. Throws RouterConfigError for what cannot be used. */
      load: () => RouterConfig;
    };

/** The object that a state is reported for, as it is known now. */
export interface ReportedObject {
  uid: string | undefined;
  generation: number | undefined;
  conditions: readonly RouterStatusCondition[];
}

/** Where a router reports to. */
export interface StatusTarget {
  /** Undefined while no object is known to write to. */
  object(): ReportedObject | undefined;
  /** Stores a status; rejects when it was not stored. */
  write(status: RouterStatus, signal: AbortSignal): Promise<void>;
  /** Calls back when writes may succeed again after an outage. */
  onReconnect(listener: () => void): void;
}

/** A configuration that is followed. `start()` resolves when changes are seen, not when there is a configuration. */
export interface ConfigSource extends Component {
  /** What stands in /readyz for it. */
  readonly name: string;
  /** Undefined where nobody is reported to. */
  readonly status: StatusTarget | undefined;
  /** Cheap: called every second and at each change. */
  read(): Reading;
  onChange(listener: () => void): void;
  /** The last reading is in force. */
  accepted(): void;
  /** Looks anew at the next read, without waiting for files to rest. */
  refresh(): void;
}
