// Work of a command handler that takes time, in the turn of its tenant.
import type { Client } from './client.js'

/**
 * Does work such as encoding a large reply when the client's tenant has its turn: immediately while the
 * gateway is not busy. Rejects with the error that `work` throws.
 */
export function inTurn({ context, tenant }: Client, work: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (): false => {
      try {
        work()
        resolve()
      } catch (error) {
        reject(error)
      }
      return false
    }
    context.scheduler.run(tenant.work, { step })
  })
}
