// The room `kube` holds what any Kubernetes controller needs, and nothing that is specific to one product:
// calls to the API server, caches that follow it, a work queue, leader election, events, conditions and
// health. It imports only the leaves (`src/*.ts`); every name that depends on the product (user agent, field
// manager, reporting controller, kinds) comes in as an option. Start reading here: this file declares the
// interfaces that a reconciler uses, and contains no implementation. Then read reflector.ts (how a cache
// follows the server), key-queue.ts and workers.ts (how keys become reconciles), and lease.ts (who leads).
// docs/kubernetes-kit.md shows how the parts are wired.
import type { ApiObject, ObjectKey, ResourceKind } from './object.js'

/**
 * An object as this client applies it. It contains all fields that the client wants to own in every apply.
 * The server removes a field that the client applied before and leaves out now, unless another field manager
 * owns the field too.
 */
export interface Desired {
  readonly metadata: ObjectKey & {
    /**
     * The write applies only to the object with this uid, and rejects with Conflict for any other. Default:
     * any uid.
     */
    readonly uid?: string | undefined
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly ownerReferences?: readonly object[]
  }
  readonly [field: string]: unknown
}

/** Options of `apply` and `applyStatus`. */
export interface ApplyOptions {
  /**
   * The object as the caller last read it, from the cache or from `get`. When it shows that exactly `desired`
   * is applied already, no request is sent. Default: a request is always sent.
   */
  readonly known?: ApiObject | undefined
}

/**
 * Reads and writes single objects. Every method rejects with ApiError when the server refuses, and with
 * ApiUnreachableError when the outcome is unknown. Calls that are safe to retry are retried after 429, after
 * 5xx (with Retry-After where the server sends it) and after a reset connection. Each attempt of a write
 * first calls the guard (see `KubeObjectApiOptions.guard`), and rejects with what the guard throws, such as
 * NotLeadingError.
 */
export interface ObjectApi {
  /** Returns the object. Rejects with reason NotFound when it does not exist. */
  get(kind: ResourceKind, key: ObjectKey): Promise<ApiObject>
  /** Returns all selected objects as of one moment. Rejects rather than return an incomplete list. */
  list(kind: ResourceKind, options?: Selection): Promise<ApiObject[]>
  /**
   * Performs a forced server-side apply, which wins conflicts with other field managers. Returns the object
   * as stored, or `known` itself when nothing had to be sent.
   */
  apply(kind: ResourceKind, desired: Desired, options?: ApplyOptions): Promise<ApiObject>
  /**
   * Applies `desired.status` to the `/status` subresource. Rejects with NotFound when the object does not
   * exist.
   */
  applyStatus(kind: ResourceKind, desired: Desired, options?: ApplyOptions): Promise<ApiObject>
  /**
   * Creates the object. Rejects with AlreadyExists when an object of this name exists. A create is not
   * retried, so after an ApiUnreachableError the object may or may not exist.
   */
  create(kind: ResourceKind, object: Desired): Promise<ApiObject>
  /**
   * Replaces the object. When `metadata.resourceVersion` is set, it replaces only that version, and rejects
   * with Conflict for any other. Do not pass an object that was read: its `managedFields` lack the entries of
   * other field managers.
   */
  update(kind: ResourceKind, object: Desired): Promise<ApiObject>
  /**
   * Deletes the object, and its dependants in the background. Rejects with NotFound when the object does not
   * exist, which includes the case that an earlier attempt deleted it and the response was lost. Rejects with
   * Conflict when a precondition does not hold.
   */
  delete(
    kind: ResourceKind,
    key: ObjectKey,
    preconditions?: { uid?: string; resourceVersion?: string },
  ): Promise<void>
}

/** Selects the objects of a kind to list or watch. */
export interface Selection {
  /** Default: all namespaces. */
  readonly namespace?: string
  /** Default: no restriction. */
  readonly labelSelector?: string
  /** Default: no restriction. */
  readonly fieldSelector?: string
}

/**
 * One change of a cache. An added object has no `previous`, a deleted one has no `current`. An object that
 * was deleted and created again under the same name is reported as a deletion followed by an addition.
 */
export interface ObjectChange {
  readonly key: string
  readonly previous?: ApiObject | undefined
  readonly current?: ApiObject | undefined
}

/** The objects of one kind, as far as the watch has reported them. A reflector keeps it up to date. */
export interface ObjectCache {
  /** Returns the object by its key (see `keyOf`). Objects are shared, so callers must not modify them. */
  get(key: string): ApiObject | undefined
  /** Returns all objects as the watch has reported them, in no particular order. */
  list(): Iterable<ApiObject>
  /** The number of objects. */
  readonly size: number
  /**
   * True once a complete list has been read. Only then does a missing key mean that the object is gone. It
   * stays true: during an outage the cache is stale, but never partial.
   */
  readonly synced: boolean
  /** Resolves when `synced` is true; rejects with the signal's reason when `signal` aborts first. */
  whenSynced(signal: AbortSignal): Promise<void>
  /**
   * Calls `listener` for each change, including those of the first list. A listener should only enqueue the
   * key: the content of the change may be outdated. An error that it throws is logged and counted.
   */
  onChange(listener: (change: ObjectChange) => void): void
  /**
   * Makes later reads return an object that a write returned, until the watch has caught up, for at most 10 s
   * (read-your-writes).
   */
  recordWrite(object: ApiObject): void
}

/**
 * Keys in `urgent` are processed before those in `normal`, which never wait for more than a share of them.
 */
export type KeyPriority = 'urgent' | 'normal'

/**
 * A set of keys to reconcile. Each key has one worker at a time. A key that is added while a worker has it is
 * processed once more afterwards.
 */
export interface WorkQueue {
  /** Adds the key. A key that is waiting already only moves from `normal`, the default, to `urgent`. */
  add(key: string, priority?: KeyPriority): void
  /**
   * Adds the key after `delayMs`. The earliest of several delays for one key takes effect, and the most
   * urgent of their priorities. Default priority: `normal`.
   */
  addAfter(key: string, delayMs: number, priority?: KeyPriority): void
  /**
   * Adds the key after a back-off that doubles with each call since the last `forget`, from 5 ms to 1,000 s.
   * A key in progress keeps its priority.
   */
  addRateLimited(key: string): void
  /** Resets the key's back-off. */
  forget(key: string): void
  /** The number of keys that are ready for a worker. It excludes keys in progress and delayed keys. */
  readonly depth: number
}

/**
 * The result of a reconcile. Undefined means that the key is not reconciled again until an object changes.
 * Otherwise the key is reconciled again after `requeueAfterMs` milliseconds.
 */
export type ReconcileOutcome = { readonly requeueAfterMs: number } | undefined

/**
 * Reads the object that `key` names, makes the actual state match it, and writes its status. A rejection is
 * retried with back-off, except for TerminalError. `signal` aborts when the process is ending or the time
 * limit is exceeded; no write may begin after that.
 */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<ReconcileOutcome>

/** The result of the leader election for this process. */
export interface Leadership {
  /** True while this process certainly holds the lease. */
  readonly leading: boolean
  /**
   * The fencing number for writes outside Kubernetes: no later leader has a lower one, even when the Lease
   * was deleted between the two. It stays readable after the lease was lost. Throws NotLeadingError when this
   * process never led.
   */
  readonly term: number
  /**
   * Throws NotLeadingError when another process may hold the lease. It compares clocks at the moment of the
   * call, so the result is also correct after the event loop stalled.
   */
  assertLeading(): void
}

/** The content of a Kubernetes Event. */
export interface EventFacts {
  readonly type: 'Normal' | 'Warning'
  /** In CamelCase, from the controller's closed list of reasons. */
  readonly reason: string
  /** The text for people. Longer texts are cut to 1,024 bytes. */
  readonly message: string
  /** The action that was in progress, in CamelCase, such as `Reconcile`. */
  readonly action: string
}

/** Records Kubernetes Events. */
export interface EventRecorder {
  /**
   * Records an Event about the object. It never throws and never blocks. An equal Event within six minutes
   * increments the count of the first one. An object that exceeds its budget gets no more Events for a while.
   */
  event(regarding: ApiObject, facts: EventFacts): void
}
