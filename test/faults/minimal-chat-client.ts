// A minimal client of the chat endpoint that joins two rooms. It uses few resources, so that tests can start
// thousands.
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'

/** A refusal of the handshake or of a join. */
export interface Refusal {
  readonly reason: string
  /** Seconds until the next attempt. Undefined: the refusal named no time. */
  readonly retryAfterS: number | undefined
}

interface ChatEvent {
  readonly event: string
  readonly room?: string
  readonly epoch?: string
  readonly offset?: number
  readonly recovered?: boolean
  readonly retry_after_ms?: number
}

const rooms = ['one', 'flood']

export class MinimalChatClient {
  readonly refusals: Refusal[] = []
  readonly #since = new Map<string, { epoch: string; offset: number }>()
  #socket: WebSocket | undefined
  #closed: Promise<number> = Promise.resolve(0)

  /**
   * Connects and joins the rooms. Resolves with true when everything missed was recovered. Rejects when the
   * connection fails.
   */
  async join(port: number, token: string): Promise<boolean> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/faults/red/ws?token=${token}`)
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)))
    const recovered: boolean[] = []
    return new Promise((resolve, reject) => {
      const refused = (reason: string, retryAfterS: number | undefined) => {
        this.refusals.push({ reason, retryAfterS })
        socket.terminate()
        reject(new Error(reason))
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
        const event = JSON.parse(data.toString()) as ChatEvent
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

  /** Like `join`, with retries for up to 120 s. Waits as long as a refusal says. */
  async joinWithRetries(port: number, token: string): Promise<boolean> {
    const endMs = performance.now() + 120_000
    for (;;) {
      const refusals = this.refusals.length
      // The documentation asks clients for a random pause.
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

  /** Stops reading from the socket. */
  pause(): void {
    this.#socket?.pause()
  }

  /** Reads again. Resolves with the close code, or with -1 after 15 s. */
  async closeCodeAfterResume(): Promise<number> {
    this.#socket?.resume()
    return Promise.race([this.#closed, sleep(15_000).then(() => -1)])
  }

  disconnect(): void {
    this.#socket?.terminate()
  }
}
