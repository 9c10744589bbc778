// A bare client of the chat door in two rooms; many of them cost little.
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'

/** It was not let in, by status or by an answer. */
export interface VisitorRefusal {
  readonly why: string
  /** Undefined: it was not told. */
  readonly retryAfterS: number | undefined
}

interface VisitorEvent {
  readonly event: string
  readonly room?: string
  readonly epoch?: string
  readonly offset?: number
  readonly recovered?: boolean
  readonly retry_after_ms?: number
}

const rooms = ['one', 'flood']

export class Visitor {
  readonly refusals: VisitorRefusal[] = []
  readonly #since = new Map<string, { epoch: string; offset: number }>()
  #socket: WebSocket | undefined
  #closed: Promise<number> = Promise.resolve(0)

  /** Resolves with whether it got all that it had missed. Rejects when the connection does not last. */
  async join(port: number, token: string): Promise<boolean> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/faults/red/ws?token=${token}`)
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)))
    const recovered: boolean[] = []
    return new Promise((resolve, reject) => {
      const refused = (why: string, retryAfterS: number | undefined) => {
        this.refusals.push({ why, retryAfterS })
        socket.terminate()
        reject(new Error(why))
      }
      socket.on('error', reject)
      socket.on('close', () => reject(new Error('closed')))
      socket.on('unexpected-response', (_request, { headers, statusCode }: IncomingMessage) => {
        const after = headers['retry-after']
        refused(`status ${statusCode}`, after === undefined ? undefined : Number(after))
      })
      socket.on('open', () => {
        for (const room of rooms)
          socket.send(JSON.stringify({ type: 'join_room', room, id: room, since: this.#since.get(room) }))
      })
      socket.on('message', (data: Buffer) => {
        const event = JSON.parse(data.toString()) as VisitorEvent
        if (event.event === 'ping') return socket.send('{"type":"pong"}')
        if (event.event === 'error') {
          const { retry_after_ms: ms } = event
          return refused(data.toString(), ms === undefined ? undefined : ms / 1_000)
        }
        if (event.room === undefined) return
        if (event.epoch !== undefined && event.offset !== undefined)
          this.#since.set(event.room, { epoch: event.epoch, offset: event.offset })
        if (event.event === 'joined' && recovered.push(event.recovered === true) === rooms.length)
          resolve(recovered.every((one) => one))
      })
    })
  }

  async joinUntilIn(port: number, token: string): Promise<boolean> {
    const endMs = performance.now() + 120_000
    for (;;) {
      const refusals = this.refusals.length
      // As the documentation asks of clients: a random pause.
      await sleep(Math.random() * 1_000)
      try {
        return await this.join(port, token)
      } catch (error) {
        this.#socket?.terminate()
        if (performance.now() > endMs) throw error
      }
      const refused = this.refusals[refusals]
      if (refused) await sleep((refused.retryAfterS ?? 0) * 1_000)
    }
  }

  pause(): void {
    this.#socket?.pause()
  }

  /** What it learns when it reads again. */
  async codeAfterReading(): Promise<number> {
    this.#socket?.resume()
    return Promise.race([this.#closed, sleep(15_000).then(() => -1)])
  }

  leave(): void {
    this.#socket?.terminate()
  }
}
