"""Home and curriculum."""
from django.http import HttpResponse
async def home(request):
    from django.middleware.csrf import get_token
    get_token(request)
    return HttpResponse("home")
curriculum = home
