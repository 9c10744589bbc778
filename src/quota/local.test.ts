import { LocalLedger } from './local.js'
import { ledgerContract } from './ledger.contract.js'

ledgerContract('LocalLedger', async () => ({ ledger: new LocalLedger(), close: async () => {} }))
