// Creates the calls of the ledger's scripts: their keys, their arguments, and the handling of their replies.
import { z } from 'zod'
import { leaseKey, ledgerGatewaysKey } from '../../redis/keys.js'
import type { Argument, Script } from '../../redis/scripts.js'
import { reportedRates, sharedRates } from '../ledger.js'
import type { AdmissionBatch } from './admissions.js'
import type { CountsUpdate, RedisLease } from './lease.js'
import { shareTtlMs } from './rate-shares.js'
import {
  checkConnections,
  countGateways,
  exchangeRates,
  reserveConnections,
  writeConnections,
} from './scripts.js'

/** One call of a script. Either `accept` or `onLost` is called, or `onLost` after `accept` has thrown. */
export interface LedgerCall {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
  /** Handles the reply. Throws when the reply is malformed. */
  accept(reply: unknown): void
  /** Called when it is not known whether Redis ran the script. */
  onLost(): void
}

interface CallHandlers<Reply> {
  readonly onReply: (reply: Reply) => void
  readonly onLost: () => void
}

const text = z.instanceof(Buffer).transform(String)

const GatewaysReply = z
  .tuple([z.number(), z.number()])
  .transform(([known, gateways]) => ({ known: known === 1, gateways }))
const RefusalReply = z
  .tuple([z.number(), text.pipe(z.enum(['tenant', 'user', 'guests'])), z.number()])
  .transform(([index, limit, used]) => [index, { admitted: false, limit, used }] as const)
const AdmissionsReply = z
  .tuple([z.number(), z.number()])
  .rest(RefusalReply)
  .transform(([held, guests, ...refused]) => ({ others: { held, guests }, refusals: new Map(refused) }))
const WriteReply = z
  .tuple([z.number(), z.number()])
  .transform(([held, guests]) => ({ others: { held, guests } }))
const ExchangeReply = z
  .array(text.transform(Number).pipe(z.number()))
  .length(reportedRates.length + sharedRates.length)

export class LedgerCalls {
  /** The id of this run of this gateway. */
  readonly #gatewayId: string
  readonly #installation: string
  readonly #connectionsTtlMs: number

  constructor(options: { gatewayId: string; installation: string; connectionsTtlMs: number }) {
    this.#gatewayId = options.gatewayId
    this.#installation = options.installation
    this.#connectionsTtlMs = options.connectionsTtlMs
  }

  /** Registers this gateway and counts the gateways of the installation. */
  count({ onLost, onReply }: CallHandlers<z.infer<typeof GatewaysReply>>): LedgerCall {
    return {
      script: countGateways,
      keys: [ledgerGatewaysKey(this.#installation)],
      args: [this.#gatewayId, shareTtlMs],
      accept: (reply) => onReply(GatewaysReply.parse(reply)),
      onLost,
    }
  }

  /**
   * Requests admissions: reserves the connections, or only checks the limits. The reply maps the index of
   * each refused request to its refusal.
   */
  request(
    { lease, limits, requests, reserve }: AdmissionBatch,
    { onLost, onReply }: CallHandlers<z.infer<typeof AdmissionsReply>>,
  ): LedgerCall {
    const { connections, guests, users, usersPrefix } = this.#keysOf(lease)
    const { guests: guestsMax, max, perUser } = limits
    const named = requests.map(({ user }) => user)
    return {
      script: reserve ? reserveConnections : checkConnections,
      keys: reserve ? [connections, guests, users] : [connections, guests],
      args: [this.#gatewayId, usersPrefix, this.#connectionsTtlMs, max, perUser, guestsMax, ...named],
      accept: (reply) => onReply(AdmissionsReply.parse(reply)),
      onLost,
    }
  }

  /** Writes the connection counts of this gateway. */
  write(
    lease: RedisLease,
    { onLost, onReply, update }: CallHandlers<z.infer<typeof WriteReply>> & { readonly update: CountsUpdate },
  ): LedgerCall {
    const { connections, guests, users } = this.#keysOf(lease)
    const { guests: guestsHeld, held, reset, users: counts } = update
    return {
      script: writeConnections,
      keys: [connections, guests, users],
      args: [this.#gatewayId, this.#connectionsTtlMs, held, guestsHeld, reset ? 1 : 0, ...counts.flat()],
      accept: (reply) => onReply(WriteReply.parse(reply)),
      onLost,
    }
  }

  /**
   * Reports the demand of this gateway and receives its shares. `equalShare`: 1 divided by the number of
   * gateways.
   */
  exchange(
    lease: RedisLease,
    { equalShare, onLost, onReply }: CallHandlers<readonly number[]> & { readonly equalShare: number },
  ): LedgerCall {
    return {
      script: exchangeRates,
      keys: [leaseKey(lease.tenantId, 'rates')],
      args: [
        this.#gatewayId,
        shareTtlMs,
        equalShare,
        ...lease.rates.demandOf((rate) => lease.listener?.perSecond(rate) ?? 0),
      ],
      accept: (reply) => onReply(ExchangeReply.parse(reply)),
      onLost,
    }
  }

  #keysOf({ tenantId }: RedisLease): Record<'connections' | 'guests' | 'users' | 'usersPrefix', string> {
    const usersPrefix = leaseKey(tenantId, 'users:')
    return {
      connections: leaseKey(tenantId, 'connections'),
      guests: leaseKey(tenantId, 'guests'),
      users: usersPrefix + this.#gatewayId,
      usersPrefix,
    }
  }
}
