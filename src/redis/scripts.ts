// Lua that runs inside Redis: how a script is named, loaded on a connection, and put into a pipeline.
import { createHash } from 'node:crypto'
import type { ChainableCommander } from 'ioredis'
import type { LiveRedis } from './link.js'

export interface Script {
  readonly lua: string
  readonly sha: string
}

export type Pipeline = ChainableCommander

export type Argument = string | number | Buffer

export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** A connection's first business: later pipelines name scripts by their hash alone. */
export async function loadScripts(live: LiveRedis, scripts: readonly Script[]): Promise<void> {
  const pipeline = live.client.pipeline()
  for (const { lua } of scripts) pipeline.script('LOAD', lua)
  for (const reply of await live.run(pipeline)) if (reply instanceof Error) throw reply
}

/** Replies come as Buffers, since payloads are bytes; ioredis's own types know no `evalshaBuffer` in a pipeline. */
export function addScript(
  pipeline: Pipeline,
  { sha }: Script,
  call: { keys: readonly string[]; args: readonly Argument[] },
): void {
  pipeline.callBuffer('EVALSHA', sha, call.keys.length, ...call.keys, ...call.args)
}
