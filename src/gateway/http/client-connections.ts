// The connections of clients, from their acceptance: who the peer is, whether the client is still a stranger,
// and the gate that passes the bytes to Node's HTTP server.
import type { IncomingMessage, Server } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { CommandError } from '../../errors.js'
import { countedAddress, plainAddress, type TrustedProxies } from './client-address.js'
import { readProxyHeader, type ProxyHeaderFailure } from './proxy-protocol.js'
import { RequestGate, type GateCut } from './request-gate.js'
import { takeListener } from './take-listener.js'
import type { UnauthenticatedSockets } from './unauthenticated-sockets.js'

/** Why a connection was cut before its client was authenticated; a label of a metric. */
export type ConnectionCut =
  | 'unauthenticated_max'
  | 'unauthenticated_per_address'
  | ProxyHeaderFailure
  | GateCut

export interface ClientConnectionsOptions {
  readonly proxies: TrustedProxies
  /** True: connections from trusted proxies begin with a header of the PROXY protocol. */
  readonly proxyProtocol: boolean
  readonly sockets: UnauthenticatedSockets
  /** The limit for receiving that header. */
  readonly proxyHeaderTimeoutMs: number
  readonly onCut: (reason: ConnectionCut) => void
}

const addressRetryAfterMs = 5_000

export class ClientConnection {
  readonly #options: ClientConnectionsOptions
  readonly #socket: Socket
  /** The peer, or what the PROXY protocol says about its client. */
  #peer: string
  /** Absent until Node's HTTP server has the socket, and after an upgrade. */
  gate: RequestGate | undefined
  #counted = true
  /** What the requests of the connection are counted under. Undefined for a proxy, and before `begin`. */
  #ownAddress: string | undefined
  /** What the connection itself is counted under, while its client is not known. */
  #address: string | undefined

  constructor(socket: Socket, peer: string, options: ClientConnectionsOptions) {
    this.#socket = socket
    this.#peer = peer
    this.#options = options
    socket.on('close', this.#release)
  }

  /**
   * Sets the peer, once it is known. Cuts the connection when its address has too many. The requests of a
   * trusted proxy say for whom they are.
   */
  begin(peer: string): void {
    this.#peer = peer
    if (this.#options.proxies.has(peer)) return
    this.#ownAddress = countedAddress(peer)
    if (!this.#attribute(this.#ownAddress)) this.cut('unauthenticated_per_address')
  }

  /**
   * Returns the address that sent the request, as it is counted. Throws ADDRESS_LIMIT when the request comes
   * from a proxy whose client has too many connections.
   */
  addressOf({ headers }: IncomingMessage): string {
    if (this.#ownAddress !== undefined) return this.#ownAddress
    const { proxies } = this.#options
    const address = countedAddress(proxies.clientOf(this.#peer, headers['x-forwarded-for']?.toString()))
    if (this.#address !== undefined || this.#attribute(address)) return address
    throw new CommandError(
      'ADDRESS_LIMIT',
      'This address has too many connections whose clients are not authenticated',
      { retryAfterMs: addressRetryAfterMs },
    )
  }

  /** The request is answered: the next one of a proxy may be for another client. */
  answered(): void {
    if (this.#ownAddress === undefined) this.#unattribute()
  }

  /** The client is known: the connection no longer counts. */
  readonly authenticated = (): void => {
    this.#release()
    this.#socket.off('close', this.#release)
  }

  cut(reason: ConnectionCut): void {
    if (this.#socket.destroyed) return
    // Unlike FIN, a reset leaves nothing to wait for in the kernel.
    this.#socket.resetAndDestroy()
    this.#options.onCut(reason)
  }

  /** Returns false when the address has as many connections as allowed. */
  #attribute(address: string): boolean {
    if (!this.#counted) return true
    if (!this.#options.sockets.attribute(address)) return false
    this.#address = address
    return true
  }

  #unattribute(): void {
    if (this.#address === undefined) return
    this.#options.sockets.unattribute(this.#address)
    this.#address = undefined
  }

  readonly #release = (): void => {
    this.#unattribute()
    if (this.#counted) this.#options.sockets.remove()
    this.#counted = false
  }
}

interface TlsHandshake {
  readonly connection: ClientConnection
  /** Forgets the handshake: it is finished, or its connection is closed. */
  readonly end: () => void
}

export class ClientConnections {
  readonly #options: ClientConnectionsOptions
  readonly #connections = new WeakMap<Duplex, ClientConnection>()
  /** Connections whose TLS handshake is not finished, by the addresses and ports of both sides. */
  readonly #handshakes = new Map<string, TlsHandshake>()

  constructor(options: ClientConnectionsOptions) {
    this.#options = options
  }

  /** Places this object between the sockets of a server and the server's own listener. */
  intercept(server: Server, secure: TlsServer | undefined): void {
    const accept = takeListener(server, 'connection')
    server.on('connection', (socket: Socket) => {
      this.#onSocket(socket, (connection) => {
        if (secure) this.#awaitHandshake(socket, connection)
        accept.call(server, socket)
        if (!secure) this.#addGate(socket, connection)
      })
    })
    secure?.on('secureConnection', (socket) => {
      const handshake = this.#handshakes.get(endpointsOf(socket))
      if (!handshake) return void socket.destroy()
      handshake.end()
      this.#addGate(socket, handshake.connection)
    })
  }

  /** Returns the connection that a request arrived on. */
  of(socket: Duplex): ClientConnection | undefined {
    return this.#connections.get(socket)
  }

  /** Returns the connection of an upgrade request. No further request arrives on it. */
  take(socket: Duplex): ClientConnection | undefined {
    const connection = this.#connections.get(socket)
    this.#connections.delete(socket)
    return connection
  }

  #onSocket(socket: Socket, accept: (connection: ClientConnection) => void): void {
    const { onCut, proxies, proxyHeaderTimeoutMs, proxyProtocol, sockets } = this.#options
    // The peer has already closed the connection when the address is missing.
    if (socket.remoteAddress === undefined) return void socket.destroy()
    const peer = plainAddress(socket.remoteAddress)
    if (!sockets.add()) {
      onCut('unauthenticated_max')
      return void socket.resetAndDestroy()
    }
    const connection = new ClientConnection(socket, peer, this.#options)
    const begin = (client: string): void => {
      connection.begin(client)
      if (!socket.destroyed) accept(connection)
    }
    if (!proxyProtocol || !proxies.has(peer)) return begin(peer)
    readProxyHeader(socket, {
      timeoutMs: proxyHeaderTimeoutMs,
      onRead: (client) => begin(client ?? peer),
      onFailed: (reason) => connection.cut(reason),
    })
  }

  #addGate(socket: Socket, connection: ClientConnection): void {
    connection.gate = new RequestGate(socket, this.#options.onCut)
    this.#connections.set(socket, connection)
  }

  #awaitHandshake(socket: Socket, connection: ClientConnection): void {
    const endpoints = endpointsOf(socket)
    const handshake = {
      connection,
      end: (): void => {
        socket.off('close', handshake.end)
        if (this.#handshakes.get(endpoints) === handshake) this.#handshakes.delete(endpoints)
      },
    }
    this.#handshakes.set(endpoints, handshake)
    socket.on('close', handshake.end)
  }
}

function endpointsOf({ localAddress, remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`
}
