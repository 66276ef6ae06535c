"""How prices are learned from costs: the constants of `estimate` and `learn_price` in jobs/lua/shared/prices.lua."""

from decimal import Decimal

#: The last costs that are kept of each price class, and of each producer's jobs in it.
PRICES_KEPT = 9
#: From so many costs on, a price is sure; as many of the newest in a row prove that it has risen.
PRICES_SURE = 3
#: A cost above the median, times this, does not count until others confirm it.
PRICE_CEILING = 4
#: USD. A higher cost is counted as spent, but is not believed to be the price of such jobs.
MOST_PRICE = Decimal(10)
