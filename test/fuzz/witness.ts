// Two clients of the tenant that gets no inputs: one publishes numbered messages all the time, and the other
// must receive each of them, in order.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { deadlineMs, within } from '../support/waiting.js'
import { fuzzToken } from './rig.js'

const intervalMs = 50

export class Witness {
  readonly #publisher: WebSocket
  readonly #subscriber: WebSocket
  readonly #stop = new AbortController()
  readonly #publishing: Promise<void>
  #sent = 0
  #received = 0
  #problem: string | undefined

  private constructor(publisher: WebSocket, subscriber: WebSocket) {
    this.#publisher = publisher
    this.#subscriber = subscriber
    for (const socket of [publisher, subscriber]) {
      socket.on('error', () => {})
      socket.on('close', (code) => (this.#problem ??= `a connection of the other tenant closed with ${code}`))
    }
    publisher.on('message', (data: Buffer) => this.#onMessage(data, publisher))
    subscriber.on('message', (data: Buffer) => this.#onMessage(data, subscriber))
    this.#publishing = this.#publish()
  }

  static async start(port: number): Promise<Witness> {
    const url = `ws://127.0.0.1:${port}/fuzz/b/ws?token=`
    const open = async (user: string): Promise<WebSocket> => {
      const socket = new WebSocket(url + (await fuzzToken(user)))
      await once(socket, 'open')
      return socket
    }
    const subscriber = await open('bob')
    const joined = new Promise<void>((resolve) => {
      subscriber.on('message', (data: Buffer) => {
        if (data.toString().startsWith('{"event":"joined","id":"kept"')) resolve()
      })
    })
    subscriber.send(JSON.stringify({ type: 'join_room', room: 'kept', id: 'kept' }))
    await within('joining', joined)
    return new Witness(await open('ann'), subscriber)
  }

  /** What went wrong until now, as a sentence; undefined when nothing did. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Stops publishing, and resolves with the problem, also when a message is missing. */
  async end(): Promise<string | undefined> {
    this.#stop.abort()
    await this.#publishing
    const endMs = performance.now() + deadlineMs
    while (this.#received < this.#sent && this.#problem === undefined && performance.now() < endMs)
      await sleep(20)
    if (this.#received < this.#sent)
      this.#problem ??= `the other tenant received ${this.#received} of ${this.#sent} messages`
    for (const socket of [this.#publisher, this.#subscriber]) socket.removeAllListeners('close').terminate()
    return this.#problem
  }

  get received(): number {
    return this.#received
  }

  async #publish(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#sent += 1
      this.#publisher.send(JSON.stringify({ type: 'room_message', room: 'kept', content: this.#sent }))
      await sleep(intervalMs)
    }
  }

  #onMessage(data: Buffer, socket: WebSocket): void {
    const message = JSON.parse(data.toString()) as { event: string; content?: unknown }
    if (message.event === 'ping') socket.send('{"type":"pong"}')
    if (message.event === 'error') this.#problem ??= `the other tenant got ${data.toString()}`
    if (message.event !== 'chat' || socket !== this.#subscriber) return
    this.#received += 1
    if (message.content !== this.#received)
      this.#problem ??= `the other tenant got message ${String(message.content)} instead of ${this.#received}`
  }
}
