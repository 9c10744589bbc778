// The ledger's scripts as calls: which keys, which arguments, and what their replies mean.
import { z } from 'zod'
import { leaseKey, ledgerGatewaysKey } from '../../redis/keys.js'
import type { Argument, Script } from '../../redis/scripts.js'
import type { Asks } from './admissions.js'
import type { PlacesPart, RedisLease } from './lease.js'
import { shareTtlMs } from './rate-shares.js'
import { countGateways, exchangeRates, lookForRoom, takePlaces, writePlaces } from './scripts.js'

/** One script's run. */
export interface Call {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly Argument[]
  /** Throws when the reply makes no sense. */
  take(reply: unknown): void
  /** Whether it happened is not known. */
  lost(): void
}

interface Outcome<Reply> {
  readonly heard: (reply: Reply) => void
  readonly lost: () => void
}

const text = z.instanceof(Buffer).transform(String)

const Counted = z
  .tuple([z.number(), z.number()])
  .transform(([known, gateways]) => ({ known: known === 1, gateways }))
const Refused = z
  .tuple([z.number(), text.pipe(z.enum(['tenant', 'user'])), z.number()])
  .transform(([which, limit, used]) => [which, { admitted: false, limit, used }] as const)
const Room = z
  .tuple([z.number()])
  .rest(Refused)
  .transform(([elsewhere, ...refused]) => ({ elsewhere, refusals: new Map(refused) }))
const Elsewhere = z.tuple([z.number()]).transform(([elsewhere]) => ({ elsewhere }))
const Exchanged = z.tuple([text, text, text]).transform((texts) => texts.map(Number))

export class LedgerCalls {
  /** Of this life of this gateway. */
  readonly #gatewayId: string
  readonly #installation: string
  readonly #placesTtlMs: number

  constructor(options: { gatewayId: string; installation: string; placesTtlMs: number }) {
    this.#gatewayId = options.gatewayId
    this.#installation = options.installation
    this.#placesTtlMs = options.placesTtlMs
  }

  count({ lost, heard }: Outcome<z.infer<typeof Counted>>): Call {
    return {
      script: countGateways,
      keys: [ledgerGatewaysKey(this.#installation)],
      args: [this.#gatewayId, shareTtlMs],
      take: (reply) => heard(Counted.parse(reply)),
      lost,
    }
  }

  ask({ all, lease, limits, take }: Asks, { lost, heard }: Outcome<z.infer<typeof Room>>): Call {
    const { connections, users, usersPrefix } = this.#keysOf(lease)
    const { max, perUser } = limits
    return {
      script: take ? takePlaces : lookForRoom,
      keys: take ? [connections, users] : [connections],
      args: [this.#gatewayId, usersPrefix, this.#placesTtlMs, max, perUser, ...all.map(({ user }) => user)],
      take: (reply) => heard(Room.parse(reply)),
      lost,
    }
  }

  write(
    lease: RedisLease,
    { part, lost, heard }: Outcome<z.infer<typeof Elsewhere>> & { readonly part: PlacesPart },
  ): Call {
    const { connections, users } = this.#keysOf(lease)
    return {
      script: writePlaces,
      keys: [connections, users],
      args: [this.#gatewayId, this.#placesTtlMs, part.held, part.afresh ? 1 : 0, ...part.users.flat()],
      take: (reply) => heard(Elsewhere.parse(reply)),
      lost,
    }
  }

  exchange(
    lease: RedisLease,
    { equalPart, lost, heard }: Outcome<readonly number[]> & { readonly equalPart: number },
  ): Call {
    return {
      script: exchangeRates,
      keys: [leaseKey(lease.tenantId, 'rates')],
      args: [
        this.#gatewayId,
        shareTtlMs,
        equalPart,
        ...lease.rates.message((rate) => lease.listener?.perSecond(rate) ?? 0),
      ],
      take: (reply) => heard(Exchanged.parse(reply)),
      lost,
    }
  }

  #keysOf({ tenantId }: RedisLease): { connections: string; users: string; usersPrefix: string } {
    const usersPrefix = leaseKey(tenantId, 'users:')
    return {
      connections: leaseKey(tenantId, 'connections'),
      users: usersPrefix + this.#gatewayId,
      usersPrefix,
    }
  }
}
