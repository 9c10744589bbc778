// A job on its way to Redis, and the two parties that handle it: the router, which finds the shard that holds
// the job's partition, and the worker of that shard, which does the job and reports to the router.

/** A piece of work for the shard that holds its partition. */
export interface Job {
  readonly partition: number
  /** Names a channel. Jobs with the same key keep their order. */
  readonly key: string
  /** When the job was created, in milliseconds of the monotonic clock. */
  readonly sinceMs: number
  /**
   * Ends the job: nothing was done, and it may not wait any longer. `reason` becomes part of the error
   * message.
   */
  refuse(reason: string): void
  /** Ends the job with an error. */
  reject(error: unknown): void
}

/** Does the jobs of one shard in the order in which they arrive. */
export interface ShardWorker<Work extends Job> {
  send(job: Work): void
}

/** A worker reports each job exactly once. It reports rerouted jobs in their order. */
export interface WorkerReport<Work extends Job> {
  /** The job has ended, with whatever outcome. */
  settled(job: Work): void
  /**
   * Nothing of the job was done because another shard holds its partition. The worker has no other job of
   * that partition left.
   */
  rerouted(job: Work): void
}
