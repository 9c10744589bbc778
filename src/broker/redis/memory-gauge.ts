// The memory of one Redis master. Before it is full, publications with history are refused, so that what is
// left serves control commands, presence, quotas and the catalog.
import type { Log } from '../../log.js'
import type { MemoryUse } from '../storage.js'

/** The shares of `maxmemory` at which the reserve begins, and below which it ends. */
const reserveShare = { from: 0.9, until: 0.87 }

export class MemoryGauge {
  readonly #shard: string
  readonly #log: Log
  #use: MemoryUse | undefined

  constructor(shard: string, log: Log) {
    this.#shard = shard
    this.#log = log
  }

  get use(): MemoryUse | undefined {
    return this.#use
  }

  /** Records what `INFO memory` says. */
  record(info: string): void {
    const usedBytes = fieldOf(info, 'used_memory')
    const maxBytes = fieldOf(info, 'maxmemory')
    if (usedBytes === undefined || maxBytes === undefined) return
    const was = this.#use?.reserved ?? false
    const share = maxBytes === 0 ? 0 : usedBytes / maxBytes
    const reserved = share >= (was ? reserveShare.until : reserveShare.from)
    this.#use = { usedBytes, maxBytes, reserved }
    if (reserved === was) return
    const fields = { shard: this.#shard, usedBytes, maxBytes }
    if (reserved)
      this.#log.error(
        fields,
        'Redis is almost full: publications with history are refused, and the rest of the memory is reserved for control commands',
      )
    else this.#log.info(fields, 'Redis has memory again: publications with history are stored')
  }
}

function fieldOf(info: string, name: string): number | undefined {
  const digits = new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
