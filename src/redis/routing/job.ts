// A job on its way to Redis, and the two parties that handle it: the router, which finds the shard that holds
// the job's partition, and the worker of that shard, which executes the job and reports to the router.

/** A piece of work for the shard that holds its partition. */
export interface Job {
  readonly partition: number
  /** The key by which jobs are ordered: it identifies a channel. Jobs with the same key keep their order. */
  readonly key: string
  /** When the job was created, in milliseconds of the monotonic clock. */
  readonly sinceMs: number
  /**
   * Ends the job when nothing of it was executed and it cannot wait any longer. `reason` becomes part of the
   * error message.
   */
  refuse(reason: string): void
  /** Ends the job with an error. */
  reject(error: unknown): void
}

/** Executes the jobs of one shard, those of each tenant in the order in which they arrive. */
export interface ShardWorker<Work extends Job> {
  /** Adds a job to the queue of the worker. */
  send(job: Work): void
}

/**
 * Receives the reports of workers. A worker reports each job exactly once, and rerouted jobs in their order.
 */
export interface WorkerReport<Work extends Job> {
  /** Called when the job has ended with any outcome. */
  settled(job: Work): void
  /**
   * Called when nothing of the job was executed because another shard holds its partition. After a worker has
   * reported its rerouted jobs, it has no job of that partition left.
   */
  rerouted(job: Work): void
}
