// What a reconciler is given: objects, a cache of them, a queue, the lease, events. The seam of this folder: no implementation.
import type { ApiObject, ObjectName, ResourceKind } from './object.js'

/**
 * What is applied: the fields that this controller wants to own, all of them, each time. What it applied before and leaves out now is
 * removed, unless somebody else owns it too.
 */
export interface Desired {
  readonly metadata: ObjectName & {
    /** Given: applies to this very object. When it was deleted and recreated meanwhile the server refuses (Conflict). */
    readonly uid?: string | undefined
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly ownerReferences?: readonly object[]
  }
  readonly [field: string]: unknown
}

export interface ApplyOptions {
  /**
   * What the caller believes to be stored (from the cache, or from a `get`). Nothing is sent when it shows that all of `desired`, and
   * nothing else, is applied already. Left out: always sent.
   */
  readonly known?: ApiObject | undefined
}

/**
 * One object at a time. Rejects with ApiError (the server said no) or ApiUnreachableError (nobody knows). Repeats by itself what is safe to
 * repeat: 429 and 503 with Retry-After, 5xx, resets. Writes check the lease at the last moment, also before each repetition, and reject
 * with NotLeadingError.
 */
export interface ObjectApi {
  /** Rejects with reason NotFound. */
  get(kind: ResourceKind, name: ObjectName): Promise<ApiObject>
  /** All of them, of one moment: complete, or it rejects. */
  list(kind: ResourceKind, options?: Selection): Promise<ApiObject[]>
  /** Server-side apply, forced: conflicts with other managers are won. Returns what is stored then; `known` itself when nothing was to do. */
  apply(kind: ResourceKind, desired: Desired, options?: ApplyOptions): Promise<ApiObject>
  /** The same on `/status`, where only `status` counts. The object has to exist (NotFound). */
  applyStatus(kind: ResourceKind, desired: Desired, options?: ApplyOptions): Promise<ApiObject>
  /** Rejects with AlreadyExists. After ApiUnreachableError it may exist all the same. */
  create(kind: ResourceKind, object: Desired): Promise<ApiObject>
  /**
   * Replaces; with `metadata.resourceVersion` only that version (Conflict). Never with an object that was read: it lacks what others noted
   * in `managedFields`.
   */
  update(kind: ResourceKind, object: Desired): Promise<ApiObject>
  /**
   * Rejects with NotFound, also when an attempt without an answer was the one that did it; with Conflict when a precondition does not hold.
   * Dependants are deleted in the background.
   */
  delete(
    kind: ResourceKind,
    name: ObjectName,
    preconditions?: { uid?: string; resourceVersion?: string },
  ): Promise<void>
}

export interface Selection {
  /** Default: all. */
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
}

/** `was` and `is`: added has no `was`, deleted has no `is`. A recreated object is a deletion, then an addition. */
export interface ObjectChange {
  readonly key: string
  readonly was?: ApiObject | undefined
  readonly is?: ApiObject | undefined
}

/** What a kind looks like, as far as it was heard. Kept by a reflector, which lists and watches for ever. */
export interface ObjectCache {
  /** By `keyOf`. Objects are shared: they are read, never changed. */
  get(key: string): ApiObject | undefined
  list(): Iterable<ApiObject>
  readonly size: number
  /**
   * At least one complete list was read since the start. Only then does absence mean that an object is gone; and it stays true: after an
   * outage the cache is old, never partial.
   */
  readonly synced: boolean
  /** Resolves when it is; rejects when `signal` ends first. */
  whenSynced(signal: AbortSignal): Promise<void>
  /** Called for each change, also during the first list. Only names what to look at: enqueue the key. What it throws is logged and counted. */
  onChange(listener: (change: ObjectChange) => void): void
  /** Read your writes: `get` answers with what a write returned until the watch has caught up (at most ten seconds). */
  wrote(object: ApiObject): void
}

/** Keys to look at. Each is worked on once at a time; added while being worked on, once more afterwards. */
export interface WorkQueue {
  add(key: string): void
  /** The earliest wins when there are several. */
  addAfter(key: string, delayMs: number): void
  /** After a delay that doubles with each call since the last `forget`: 5 ms to 1,000 s. */
  addRateLimited(key: string): void
  forget(key: string): void
  /** Waiting now: neither being worked on nor later. */
  readonly depth: number
}

/** Nothing more to do (until a change), or again after a while. A rejection is retried with back-off; TerminalError is not. */
export type Outcome = { readonly requeueAfterMs: number } | undefined

/** Reads what `key` names, makes the world match, writes status. `signal`: the process is ending, finish or give up. */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>

export interface Leadership {
  readonly leading: boolean
  /**
   * Grows with each new leader, also when the Lease was deleted in between: the fencing number for writes elsewhere. Throws NotLeadingError
   * when this process never led.
   */
  readonly term: number
  /** Throws NotLeadingError when the lease may have passed to another, as of now: a stalled event loop does not fool it. */
  assertLeading(): void
}

export interface EventFacts {
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, from the closed list. */
  readonly reason: string
  /** For people; cut at 1,024 bytes. */
  readonly message: string
  /** What was being done: CamelCase, e.g. `Reconcile`. */
  readonly action: string
}

export interface EventRecorder {
  /** Never fails and never waits. The same again within six minutes only counts up; an object that has too many gets no more. */
  event(regarding: ApiObject, facts: EventFacts): void
}
