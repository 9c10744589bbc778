// The few commands that the broker puts into pipelines, typed as it uses them: ioredis's own types know no `evalshaBuffer` in a pipeline.
import type { ChainableCommander } from 'ioredis'
import type { Script } from './redis-scripts.js'

export type Pipeline = ChainableCommander

export type Argument = string | number | Buffer

/** Replies come as Buffers, since payloads are bytes. */
export function addScript(pipeline: Pipeline, script: Script, call: { keys: readonly string[]; args: readonly Argument[] }): void {
  pipeline.callBuffer('EVALSHA', script.sha, call.keys.length, ...call.keys, ...call.args)
}
