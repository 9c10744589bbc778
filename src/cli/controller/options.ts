// The options of `parley controller`, as its command line gives them. They are apart from the command, which
// imports the Kubernetes client only when it runs.
import type { PublicUrl } from '../../controller/credentials/endpoints.js'
import type { LogLevel } from '../../log.js'
import type { RedisOptions } from '../redis-links.js'

export interface ControllerCommandOptions extends RedisOptions {
  readonly sealingKeyFile: string
  readonly installation: string
  readonly publicUrl?: PublicUrl
  readonly kubeconfig?: string
  readonly namespace?: string
  readonly leaseName: string
  readonly identity?: string
  readonly gatewayHpa?: string
  readonly gatewaySelector?: string
  readonly takeOver?: string
  readonly workers: number
  readonly kubeApiQps: number
  readonly kubeApiBurst?: number
  readonly host: string
  readonly opsPort: number
  readonly allowPrivateJwks: boolean
  readonly logLevel: LogLevel
}
