-- Asks Préau's gate whether a request is of somebody who is seated. Leaves in the transaction's variables
--   txn.preau         the gate's status: 204 seated, 401 not; 0 where it could not be asked
--   txn.preau_cookie  what the browser is to be given, if anything
local GATE = "http://127.0.0.1:8080/preau/auth"

-- What the gate tells people apart by. Nothing else of the request need be sent.
local HEADERS = { "host", "cookie", "authorization", "accept", "accept-language", "origin", "sec-fetch-dest",
    "sec-fetch-mode", "sec-fetch-site", "user-agent", "x-preau-identity", "x-preau-ticket" }

core.register_action("preau", { "http-req" }, function(txn)
    local headers = {
        ["x-forwarded-for"] = { txn.sf:src() },
        ["x-original-uri"] = { txn.sf:pathq() },
        ["x-original-method"] = { txn.sf:method() },
    }
    local given = txn.http:req_get_headers()
    for _, name in ipairs(HEADERS) do
        local values = given[name]
        if values then
            local list = {}
            for i = 0, #values do
                list[i + 1] = values[i]
            end
            headers[name] = list
        end
    end

    local answer = core.httpclient():get({ url = GATE, headers = headers, timeout = 5000 })
    txn:set_var("txn.preau", answer and answer.status or 0)
    local cookie = answer and answer.headers and answer.headers["set-cookie"]
    if cookie then
        txn:set_var("txn.preau_cookie", cookie[0])
    end
end, 0)
